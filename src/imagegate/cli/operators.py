"""`imagegate operators`: who may use the admin API."""

from typing import Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Expires, Json, Reason, ReasonOrNone, actor, read_expiry

app = typer.Typer(name="operators", help="Operators' keys: issue, list, revoke.", no_args_is_help=True)

SHOWN = 1000


def scopes(texts: list[str]) -> list[str]:
    from imagegate.identity.operators import SCOPES

    for text in texts:
        if text not in SCOPES:
            raise typer.BadParameter(f"{text!r} is no scope; there are: {', '.join(SCOPES)}.")
    return texts


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="How the audit log names whoever holds the key.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            callback=scopes,
            help="read, keys:write, wallets:write, prices:write, models:write, providers:write or generations:write; "
            "repeat it.",
        ),
    ],
    expires: Expires = None,
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Issue a key for /admin/v1 and show it, once."""
    from imagegate.admin import operators
    from imagegate.identity.audit import Actor
    from imagegate.identity.operators import SCOPES

    async def work(desk: Desk) -> None:
        until, by = read_expiry(expires) if expires else None, Actor(actor(), reason)
        wanted = [known for known in SCOPES if known in scope]
        async with desk.registry() as registry, registry.engine.begin() as tx:
            pepper = registry.keyring.key_pepper
            made, plain = await operators.create_operator(tx, pepper, name, wanted, until, by)
        shown = operators.operator_json(made, plain)
        ends = f", good until {shown['expires_at']}" if until else ""
        text = f"{shown['id']} ({' '.join(shown['scopes'])}{ends}). Keep the key now: it is shown this once."
        desk.answer(shown, f"{plain}\n\n{text}")

    run(work, json=json)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the newest operators' keys; of each only its last four characters are known."""
    from imagegate.admin import operators

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            found = await operators.page_operators(connection, None, SHOWN)
        listed = [operators.operator_json(operator) for operator in found]
        rows = [
            (o["id"], o["name"], f"…{o['hint']}", o["status"], " ".join(o["scopes"]), o["expires_at"] or "")
            for o in listed
        ]
        empty = "There is no operator key yet. Issue one: imagegate operators create NAME --scope read"
        columns = ("id", "name", "key", "status", "scopes", "expires")
        desk.answer_table({"operators": listed}, columns, rows, empty)

    run(work, json=json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="opk_… as `operators list` shows it.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """Revoke an operator key for good, at once."""
    from imagegate.admin import operators
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            revoked = await operators.revoke_operator(tx, key_id, Actor(actor(), reason))
        desk.answer(operators.operator_json(revoked), f"{revoked.public_id} ({revoked.name}) is revoked.")

    run(work, json=json)
