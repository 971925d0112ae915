"""`imagegate accounts`: who may draw."""

from typing import Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, actor

app = typer.Typer(name="accounts", help="Accounts: make one, list them.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name of its own, 1 to 200 characters.")], json: Json = False
) -> None:
    """Open an account with an empty live wallet and a test wallet that holds its grant."""
    from imagegate.admin import operations

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            account = await operations.open_account(tx, registry.settings, name, actor())
        granted = registry.settings.test_wallet_tokens
        desk.answer(
            account.to_json(),
            f"Account {name!r} is open. Its test wallet holds {granted:,} tokens, its live wallet none.\n"
            f"Next: imagegate keys create --account {name!r} --env test",
        )

    run(work, json=json)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the accounts, oldest first."""
    from imagegate.admin import operations

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            listed = [account.to_json() for account in await operations.list_accounts(connection)]
        rows = [(a["name"], a["id"], a["created_at"]) for a in listed]
        empty = "There is no account yet. Make one: imagegate accounts create NAME"
        desk.answer_table({"accounts": listed}, ("name", "id", "created"), rows, empty)

    run(work, json=json)
