"""`imagegate keys`: what callers show."""

from typing import Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import AccountName, AnyAccountName, Env, Expires, Json, read_expiry

app = typer.Typer(name="keys", help="API keys: make, list, revoke.", no_args_is_help=True)


@app.command()
def create(
    account: AccountName,
    env: Annotated[Env, typer.Option("--env", help="live spends the live wallet, test the test wallet.")],
    team: Annotated[str | None, typer.Option(help="Label: who.")] = None,
    app_: Annotated[str | None, typer.Option("--app", help="Label: what.")] = None,
    environment: Annotated[str | None, typer.Option(help="Label: where.")] = None,
    expires: Expires = None,
    json: Json = False,
) -> None:
    """Make a key and show it, once."""
    from imagegate.admin import operations
    from imagegate.identity.keys import Labels

    async def work(desk: Desk) -> None:
        labels = Labels(team, app_, environment)
        until = read_expiry(expires) if expires else None
        async with desk.registry() as registry, registry.engine.begin() as tx:
            key = await operations.create_key(tx, registry.keyring.key_pepper, account, env, labels, until)
        made = key.to_json()
        ends = f", good until {made['expires_at']}" if until else ""
        desk.answer(
            made, f"{key.plain}\n\n{made['id']} ({env}{ends}). Keep the key now: it is shown this once."
        )

    run(work, json=json)


@app.command("list")
def list_(account: AnyAccountName = None, json: Json = False) -> None:
    """List the keys, oldest first; of each only its last four characters are known."""
    from imagegate.admin import operations

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            listed = [key.to_json() for key in await operations.list_keys(connection, account)]
        rows = [
            (
                key["id"],
                key["account"],
                key["env"],
                f"…{key['hint']}",
                key["status"],
                " ".join(key[label] for label in ("team", "app", "environment") if key[label]),
                key["expires_at"] or "",
            )
            for key in listed
        ]
        columns = ("id", "account", "env", "key", "status", "labels", "expires")
        empty = "There is no key yet. Make one: imagegate keys create --account NAME --env test"
        desk.answer_table({"keys": listed}, columns, rows, empty)

    run(work, json=json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="key_… as `keys list` shows it.")],
    json: Json = False,
) -> None:
    """Revoke a key for good. From now on nothing is spent with it."""
    from imagegate.admin import operations
    from imagegate.ids import public_id

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            revoked = public_id("key", await operations.revoke_key(tx, key_id))
        desk.answer({"id": revoked, "status": "revoked"}, f"{revoked} is revoked.")

    run(work, json=json)
