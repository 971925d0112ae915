"""A provider on loopback that speaks OpenAI's wire, checks every request, and fails the way a test asks.

async with FakeProvider() as fake:
    fake.then(Status(503), Images())    # played in this order, one a request; afterwards `fake.default`
    ...                                 # call `fake.base_url` with the key `KEY`
    assert fake.violations == []
"""

import asyncio
from collections import deque
from types import TracebackType

from tests.fake_events import Events
from tests.fake_rules import COMPATIBLE_RULES, RULES, find_violation
from tests.fake_verbs import CloseOnAccept, Exchange, Images, Request, Status, Verb, picture

KEY = "sk-test-0123456789"


class FakeProvider:
    """`compatible`: the tolerant wire of self-hosted servers; `key`: None when none is needed."""

    def __init__(self, *, compatible: bool = False, key: str | None = KEY) -> None:
        self.default: Verb = Images()
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.fetched: list[Request] = []
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.connections = 0
        self._key = key
        self._rules = {**RULES, **COMPATIBLE_RULES} if compatible else RULES
        self._script: deque[Verb] = deque()
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> "FakeProvider":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.origin}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def then(self, *verbs: Verb) -> None:
        self._script.extend(verbs)

    def forget(self) -> None:
        """What was to be answered next and was not asked for."""
        self._script.clear()

    async def arrived(self, requests: int) -> None:
        """Wait until so many requests have been read."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= requests)

    async def drop_connections(self) -> None:
        """Close every connection as a server does that restarts, and wait until the other side can see it."""
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*self._open)
        for _ in range(10):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.connections += 1
        try:
            if self._script and isinstance(self._script[0], CloseOnAccept):
                self._script.popleft()
                return
            while not writer.is_closing() and (request := await read_request(reader)):
                await self._answer(Exchange(request, writer, self.origin))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            del self._open[task]

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method == "GET":
            self.fetched.append(request)
            await self._show(exchange)
            return
        async with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        verb = self._script.popleft() if self._script else self.default
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            verb = Status(401, code="invalid_api_key", type="invalid_request_error")
        elif wrong := find_violation(request, self._rules):
            self.violations.append(wrong)
            verb = Status(400, code="invalid_value", type="invalid_request_error")
        elif isinstance(verb, Images) and request.body.get("stream") in (True, "true"):
            verb = Events()
        await verb.play(exchange)

    async def _show(self, exchange: Exchange) -> None:
        path = exchange.request.path
        if path in self.pages:
            status, headers, content = self.pages[path]
            await exchange.send(status, content, **headers)
        elif path.startswith("/pictures/"):
            size, _, kind = path.removeprefix("/pictures/").partition(".")
            await exchange.send(200, picture(size, kind), content_type=f"image/{kind}")
        else:
            await exchange.send(404, {"error": {"message": "no such page"}})


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """None at the end of the connection."""
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = lines[0].split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])
    }
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, raw)
