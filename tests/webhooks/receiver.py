"""A receiver of webhooks on loopback, with a script for each path. What nobody scripted is answered 204."""

import asyncio
import ssl
from collections import defaultdict, deque
from dataclasses import dataclass
from types import TracebackType

from tests.fake_provider import read_request
from tests.fake_verbs import Exchange, Request, Status, Verb, head


class Receiver:
    """Plays the verbs of a path in their order, one a request. `sent_bytes`: what endless answers got rid of."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self._scripts: dict[str, deque[Verb]] = defaultdict(deque)
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls = tls

    async def __aenter__(self) -> "Receiver":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def then(self, path: str, *verbs: Verb) -> str:
        """The URL of that path."""
        self._scripts[path].extend(verbs)
        return self.url + path

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while not writer.is_closing() and (request := await read_request(reader)):
                self.requests.append(request)
                script = self._scripts[request.path]
                verb = script.popleft() if script else Status(204, b"")
                await verb.play(Exchange(request, writer, self.url))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


@dataclass
class Endless:
    """200 and then bytes for ever; `sent_bytes` counts those that could be got rid of. ended: the other side left."""

    sent_bytes: int = 0
    ended: bool = False

    async def play(self, exchange: Exchange) -> None:
        await exchange.write(head(200, 2**50, {}))
        try:
            while True:
                await exchange.write(b"x" * 65_536)
                self.sent_bytes += 65_536
        except ConnectionError:
            self.ended = True
            raise


@dataclass(frozen=True)
class SlowHead:
    """The head of an answer, a letter at a time, without end."""

    async def play(self, exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while True:
            await exchange.write(b"x")
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class SlowBody:
    """A status at once, then the body a byte at a time."""

    async def play(self, exchange: Exchange) -> None:
        await exchange.write(head(200, 1000, {}))
        while True:
            await exchange.write(b"x")
            await asyncio.sleep(0.05)
