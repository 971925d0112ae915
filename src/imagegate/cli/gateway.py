"""The HTTP server of `serve` and `demo`: how it listens, what signals do, how it ends."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import ceil

import uvicorn

from imagegate.app import create_app
from imagegate.cli.heads import heads_in_time
from imagegate.cli.heap import give_large_blocks_back
from imagegate.cli.listener import refused
from imagegate.cli.proxies import behind_proxies
from imagegate.services import Services
from imagegate.web.doorstep import Doorstep
from imagegate.worker import working

SIGNALS = (signal.SIGINT, signal.SIGTERM)
DOORS = 16
"""uvloop takes one connection a listener and turn of the loop, which takes milliseconds when it is busy: of 200 new
connections beside turns of 10 ms the last came in after 2.1 s with one listener, after 0.4 s with sixteen."""
GRACE_S = 10
"""Beyond drain_s: the last answers are still being written."""


class Gateway(uvicorn.Server):
    """uvicorn, except that it leaves the signals to `Stop`, and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


class Stop:
    """The first signal asks to stop and lets running generations end; the second cuts them short."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._asked = False
        self._concerned: tuple[Services, Gateway] | None = None
        self._cut: asyncio.Task[None] | None = None

    def concerns(self, services: Services, gateway: Gateway) -> None:
        """What to stop. A signal that came before this is not forgotten."""
        self._concerned = services, gateway
        if self._asked:
            self._ask(services, gateway)

    def signalled(self) -> None:
        again, self._asked = self._asked, True
        if self._concerned is None:
            return
        if again:
            self._insist(*self._concerned)
        else:
            self._ask(*self._concerned)

    def _ask(self, services: Services, gateway: Gateway) -> None:
        if running := len(services.supervisor):
            self._say(
                f"Stopping: {running} running generations are waited for; a second signal cuts them short."
            )
        services.status.draining = True
        gateway.should_exit = True

    def _insist(self, services: Services, gateway: Gateway) -> None:
        if self._cut is None:
            gateway.force_exit = True
            self._cut = asyncio.create_task(services.supervisor.drain(0))


@contextmanager
def on_signals(say: Callable[[str], None]) -> Iterator[Stop]:
    """SIGINT and SIGTERM go to the Stop as long as this is open."""
    loop, stop = asyncio.get_running_loop(), Stop(say)
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.signalled)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def configured(services: Services) -> uvicorn.Config:
    settings, app = services.settings, create_app(services=services)
    doorstep = Doorstep(services.load, app.hot, app.telemetry)
    return uvicorn.Config(
        behind_proxies(app, settings.trusted_proxies),
        http=heads_in_time(settings.header_timeout_s, doorstep.refusal),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `behind_proxies` believes them
        backlog=2048,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=ceil(settings.drain_s) + GRACE_S,
    )


def tune_interpreter() -> None:
    """For a process that only serves: what was built at the start is never garbage and is not looked through again;
    threads that sync large images get their turn soon; megabytes that are free again are the system's."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(0.0005)
    give_large_blocks_back()


@asynccontextmanager
async def listening(
    services: Services, listener: socket.socket, stop: Stop, verb: str
) -> AsyncIterator[asyncio.Task[None]]:
    """Answer on `listener`; gives the task that ends when nobody is answered any more.

    On the way out no more connections are accepted, and handlers that run are waited for.
    """
    host, port = listener.getsockname()[:2]
    gateway = Gateway(configured(services))
    stop.concerns(services, gateway)
    tune_interpreter()
    doors = [listener, *(listener.dup() for _ in range(DOORS - 1))]
    serving = asyncio.create_task(gateway.serve(sockets=doors))
    ready = asyncio.create_task(gateway.listens.wait())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if serving.done() and isinstance(error := serving.exception(), OSError):
        raise refused(error, host, port, verb)
    try:
        async with working(services):
            yield serving
    finally:
        gateway.should_exit = True
        await serving
        if gateway.force_exit:
            await gateway.lifespan.shutdown()  # uvicorn leaves it out when it is forced
