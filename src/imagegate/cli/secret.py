"""`imagegate secret`: make a master secret, change to it, and see whether the older one is still needed."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, Reason, actor
from imagegate.errors import Conflict, OperatorError

if TYPE_CHECKING:
    from imagegate.admin.master import Standing
    from imagegate.settings import Settings

app = typer.Typer(
    name="secret", help="The master secret: make one, change to it, look.", no_args_is_help=True
)

NOTICED_S = 3.0
"""After so long every running gateway has turned to the secret in force; they look once a second."""


@app.command()
def new(json: Json = False) -> None:
    """Print a new secret, good for IMAGEGATE_SECRET. Nothing is changed."""
    from imagegate.identity.masters import new_master

    async def work(desk: Desk) -> None:
        made = new_master()
        desk.answer({"secret": made}, made)

    run(work, json=json)


@app.command()
def status(json: Json = False) -> None:
    """Say which secret is in force, and what still needs an older one."""
    from imagegate.admin import master

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            standing = await master.look(connection, registry.keyring)
        desk.answer(standing.to_json(), text_of(standing))

    run(work, json=json)


@app.command()
def rotate(
    reason: Reason,
    force: Annotated[
        bool, typer.Option("--force", help="Even where running gateways do not know the new secret.")
    ] = False,
    json: Json = False,
) -> None:
    """Change to the newest secret, which all running gateways accept already; keys and links go on working.

    IMAGEGATE_SECRET is the new one, IMAGEGATE_SECRET_PREVIOUS the one in force; in embedded mode a new one is made.
    """
    from imagegate.admin import master
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        settings, by = desk.settings(), Actor(actor(), reason)
        add_own(settings)
        async with desk.registry() as registry:
            keyring, engine = registry.keyring, registry.engine
            if len(keyring.known) < 2:
                raise OperatorError(
                    "There is one secret only. Set IMAGEGATE_SECRET_PREVIOUS to the one in force and IMAGEGATE_SECRET "
                    "to a new one (imagegate secret new), restart every gateway so, then: imagegate secret rotate"
                )
            async with engine.begin() as tx:
                await master.rotate(tx, keyring, by, force=force)
                running = (await master.look(tx, keyring)).running
            if running:  # what they sealed before they noticed
                with desk.progress("Waiting until all gateways have noticed"):
                    await asyncio.sleep(NOTICED_S)
                async with engine.begin() as tx:
                    await master.rotate(tx, keyring, by, force=force)
            async with engine.connect() as connection:
                standing = await master.look(connection, keyring)
        desk.answer(standing.to_json(), text_of(standing))

    run(work, json=json)


@app.command()
def forget(
    force: Annotated[
        bool, typer.Option("--force", help="Even where keys need it, which then are refused for good.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove the older secret from the file in the data directory; keys that still need it are refused from then on."""
    from imagegate.admin import master
    from imagegate.identity.masters import own_file, own_masters, replace_own

    async def work(desk: Desk) -> None:
        settings = desk.settings()
        if settings.secret is not None:
            raise OperatorError("Remove IMAGEGATE_SECRET_PREVIOUS from the settings, and restart.")
        path = own_file(settings)
        async with desk.registry() as registry, registry.engine.connect() as connection:
            standing = await master.look(connection, registry.keyring)
            if not standing.newest or (not standing.done and not force):
                raise Conflict(text_of(standing), code="older_secret_needed")
            replace_own(path, master.only(own_masters(path), registry.keyring))
        desk.answer({"secrets_known": 1}, f"{path} holds the secret in force alone. Restart the gateway.")

    run(work, json=json)


def add_own(settings: "Settings") -> None:
    """In embedded mode: a new secret into the file, above the one in force, where there is none waiting."""
    from imagegate.identity.masters import new_master, own_file, own_masters, replace_own

    if settings.secret is not None or not settings.embedded:
        return
    path = own_file(settings)
    masters = own_masters(path)
    if len(masters) == 1:
        replace_own(path, (new_master().encode(), *masters))


def text_of(standing: "Standing") -> str:
    lines: list[Any] = [f"In force: {standing.fingerprint[:8]}…, of {standing.known} known here."]
    if not standing.newest:
        lines.append("A newer one waits. Change to it: imagegate secret rotate --reason TEXT")
    if standing.behind:
        lines.append(
            f"{standing.behind} of {standing.running} running gateways do not know the newest: restart them."
        )
    if standing.old_callers or standing.old_operators:
        lines.append(
            f"Not used since the change: {standing.old_callers} keys of callers and {standing.old_operators} of "
            "operators. Without the older secret they are refused."
        )
    if standing.sealed_before:
        lines.append(
            f"{standing.sealed_before} sealed secrets are under another one: imagegate secret rotate"
        )
    if standing.done:
        lines.append("Nothing needs an older secret.")
    if standing.newest and standing.known > 1:
        lines.append(
            "The older one is accepted until IMAGEGATE_SECRET_PREVIOUS is removed (embedded: imagegate secret forget)."
        )
    return "\n".join(lines)
