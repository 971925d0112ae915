"""A loopback proxy before the gateway, which cuts a caller's connection where the caller's prompt asks for it."""

import asyncio
from collections import Counter
from enum import Enum
from typing import Self

TIMES = 2
"""How often the same request is cut; the clients ask three times."""
LARGEST_ANSWER_BYTES = 2**24


class Cut(Enum):
    """The value is what the prompt says."""

    BEFORE = "cut before it is passed on"
    AT_ONCE = "cut as soon as it is passed on"
    RUNNING = "cut while it runs"
    ANSWER = "cut before the answer"
    MIDDLE = "cut in the middle of the answer"


class CuttingProxy:
    """`async with CuttingProxy(port_of_the_gateway) as proxy:`; one request a connection. Once sound, it cuts none."""

    def __init__(self, port: int) -> None:
        self._gateway = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: Counter[bytes] = Counter()
        self.sound = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(length_of(head))
            await self._pass(head, body, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass(self, head: bytes, body: bytes, caller: asyncio.StreamWriter) -> None:
        cut = self._cut_of(body)
        if cut is Cut.BEFORE:
            return
        answers, gateway = await asyncio.open_connection("127.0.0.1", self._gateway)
        try:
            gateway.write(without_keep_alive(head) + body)
            await gateway.drain()
            if cut is Cut.AT_ONCE:
                return
            if cut is Cut.RUNNING:
                await asyncio.sleep(0.1)  # long enough for a hold, shorter than the picture takes
                return
            answer = await read_whole(answers)
            if cut is not Cut.ANSWER:
                caller.write(answer[: len(answer) // 2] if cut is Cut.MIDDLE else answer)
                await caller.drain()
        finally:
            gateway.close()

    def _cut_of(self, body: bytes) -> Cut | None:
        if self.sound or self._seen[body] == TIMES:
            return None
        self._seen[body] += 1
        return next((cut for cut in Cut if cut.value.encode() in body), None)


def length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def without_keep_alive(head: bytes) -> bytes:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([first, *kept, b"connection: close", b"", b""])


async def read_whole(answers: asyncio.StreamReader) -> bytes:
    answer = bytearray()
    while piece := await answers.read(2**16):
        answer += piece
        assert len(answer) <= LARGEST_ANSWER_BYTES
    return bytes(answer)
