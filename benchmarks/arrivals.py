"""An open-loop load: requests come at a rate, whether those before were answered or not, as from many callers."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from benchmarks.answers import AnswerReader, MalformedAnswer
from benchmarks.load import percentile

TICK_S = 0.005
MOST_CONNECTIONS = 8_000
LAST_S = 30.0


@dataclass(slots=True)
class Arrived:
    """Latencies in ms by status, from when a request was due; 0: cut off, 1: no connection, 2: too many are open."""

    seconds: float
    sent: int = 0
    ms: dict[int, list[float]] = field(default_factory=dict)

    def count(self, status: int) -> int:
        return len(self.ms.get(status, ()))

    def per_s(self, status: int) -> float:
        return self.count(status) / self.seconds

    def p(self, status: int, percent: float) -> float:
        return percentile(sorted(self.ms.get(status, ())), percent)


class Caller(asyncio.Protocol):
    """One connection that is kept, with one request at a time."""

    def __init__(self, done: Callable[["Caller", int, float], None]) -> None:
        self._done = done
        self._answer: AnswerReader | None = None
        self._due = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, due: float) -> None:
        self._answer, self._due = AnswerReader(keep=False), due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            return
        try:
            if not answer.feed(data):
                return
        except (MalformedAnswer, ValueError):
            self.transport.abort()
            return
        self._answer = None
        self._done(self, answer.status, self._due)

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer is not None:
            self._answer = None
            self._done(self, 0, self._due)


async def arrive(host: str, port: int, request: bytes, per_s: float, seconds: float) -> Arrived:
    """Evenly, over `seconds`; the last answers are waited for."""
    loop, told = asyncio.get_running_loop(), Arrived(seconds)
    idle: deque[Caller] = deque()
    open_now, tasks = 0, set[asyncio.Task[None]]()

    def done(caller: Caller, status: int, due: float) -> None:
        nonlocal open_now
        open_now -= 1
        told.ms.setdefault(status, []).append(1000 * (perf_counter() - due))
        if not caller.transport.is_closing():
            idle.append(caller)

    async def connect(due: float) -> None:
        try:
            _, caller = await loop.create_connection(lambda: Caller(done), host, port)
        except OSError:
            nonlocal open_now
            open_now -= 1
            told.ms.setdefault(1, []).append(1000 * (perf_counter() - due))
        else:
            caller.send(request, due)

    began = perf_counter()
    while (now := perf_counter()) < began + seconds:
        while told.sent < (now - began) * per_s:
            due = began + told.sent / per_s
            told.sent += 1
            open_now += 1
            while idle and idle[-1].transport.is_closing():
                idle.pop()
            if idle:
                idle.pop().send(request, due)
            elif open_now <= MOST_CONNECTIONS:
                task = asyncio.ensure_future(connect(due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                open_now -= 1
                told.ms.setdefault(2, []).append(0.0)
        await asyncio.sleep(TICK_S)
    last = perf_counter() + LAST_S
    while open_now and perf_counter() < last:  # noqa: ASYNC110 a poll a run, and an event would be set each request
        await asyncio.sleep(0.05)
    for caller in idle:
        caller.transport.close()
    return told
