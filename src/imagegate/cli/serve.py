"""`imagegate serve`: the gateway itself."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json

if TYPE_CHECKING:
    from imagegate.services import Services

HostOption = Annotated[
    str | None, typer.Option("--host", help="Address to listen on. Default: IMAGEGATE_HOST.")
]
PortOption = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on. Default: IMAGEGATE_PORT.")
]


def serve(host: HostOption = None, port: PortOption = None, json: Json = False) -> None:
    """Serve the API until Ctrl-C or SIGTERM; running generations are waited for, a second signal cuts them short.

    Several processes may share one database, secret and image store.
    """
    import uvloop

    async def work(desk: Desk) -> None:
        from imagegate.cli.listener import base_url, bind

        settings = desk.settings(host=host, port=port)
        with closing(bind(settings.host, settings.port, "serve")) as listener:
            from imagegate.cli import gateway

            with gateway.on_signals(desk.say) as stop:
                async with (
                    desk.services(settings) as services,
                    gateway.listening(services, listener, stop, "serve") as serving,
                ):
                    await greet(desk, services, base_url(listener))
                    await serving

    run(work, json=json, loop_factory=uvloop.new_event_loop)


async def greet(desk: Desk, services: "Services", url: str) -> None:
    """One line with the address; whoever has no account yet learns how to make one.

    As long as there is no operator's key, a link into the console too.
    """
    from imagegate.admin import accounts, operators
    from imagegate.cli.console import sign_in_link

    if desk.json:
        desk.answer({"url": url, "base_url": f"{url}/v1"}, "")
    desk.say(f"imagegate listens on {url} (API base {url}/v1, stop with Ctrl-C)")
    async with services.engine.connect() as connection:
        if not await operators.page_operators(connection, None, 1):
            base = services.settings.public_url or url
            desk.say(
                f"Console (this link works once, for 15 minutes): {sign_in_link(services.keyring, base)}"
            )
        if not await accounts.list_accounts(connection):
            desk.say(
                "There is no account yet. In another terminal: imagegate accounts create NAME, "
                "then: imagegate keys create --account NAME --env test"
            )
