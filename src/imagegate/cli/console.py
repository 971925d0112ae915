"""`imagegate console`: how one gets into the console."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, actor

if TYPE_CHECKING:
    from imagegate.identity.secret import Keyring

app = typer.Typer(name="console", help="The console: print a link that signs in.", no_args_is_help=True)


@app.callback()
def console() -> None:
    pass


@app.command()
def link(
    role: Annotated[
        Literal["read", "write"], typer.Option("--role", help="read looks; write may change everything.")
    ] = "write",
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Where the gateway is reached. Default: IMAGEGATE_PUBLIC_URL, else its port.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print a link to the console. It works once, within 15 minutes."""
    from imagegate.identity.secret import load_keyring

    async def work(desk: Desk) -> None:
        settings = desk.settings()
        base = url or settings.public_url or f"http://{settings.host}:{settings.port}"
        made = sign_in_link(load_keyring(settings), base.rstrip("/"), role)
        desk.answer({"url": made, "role": role, "expires_in_s": 900}, made)

    run(work, json=json)


def sign_in_link(keyring: "Keyring", base_url: str, role: Literal["read", "write"] = "write") -> str:
    """An address that signs the system's user in once."""
    from imagegate.identity.console import link_url

    return link_url(keyring.console, base_url, role, f"console:{actor().partition(':')[2]}")
