"""One lane to Redis on which script calls travel together: what is asked while a batch is under way goes with the next.

Nobody who waits for an answer holds a connection, so a caller that leaves or loses patience breaks none.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoScriptError

MOST_A_BATCH = 256


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> "Script":
        """Redis names scripts by their SHA-1."""
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Call:
    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | int]
    answer: "asyncio.Future[Any]"


class Lane:
    """`run` it in a task. redis: its timeouts bound what one batch takes; it must not repeat commands by itself.

    In a cluster each call goes to the server of its keys, which must all have one hash tag.
    """

    def __init__(self, redis: Redis | RedisCluster) -> None:
        self._redis = redis
        self._queue: deque[Call] = deque()
        self._wake = asyncio.Event()

    async def call(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """The script's answer. Raises ConnectionError when it did not come, and RedisError when Redis refused."""
        call = Call(script, keys, arguments, asyncio.get_running_loop().create_future())
        self._queue.append(call)
        self._wake.set()
        return await call.answer

    async def run(self) -> None:
        """For ever. A batch that fails takes along what waits behind it: nobody waits twice."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                size = min(len(self._queue), MOST_A_BATCH)
                batch = [
                    call for call in (self._queue.popleft() for _ in range(size)) if not call.answer.done()
                ]
                try:
                    await self._send(batch)
                except Exception as error:
                    self._fail([*batch, *self._queue], error)
                    self._queue.clear()

    async def _send(self, batch: Sequence[Call]) -> None:
        unknown = self._answer(batch, await self._sent(batch))
        if unknown:  # Redis was started anew; these did not run
            for text in {call.script.text for call in unknown}:
                await self._redis.script_load(text)
            self._fail(self._answer(unknown, await self._sent(unknown)), NoScriptError())

    def _answer(self, batch: Sequence[Call], answers: Sequence[Any]) -> list[Call]:
        """Tell whoever still waits. Gives the calls whose script Redis does not know."""
        unknown = []
        for call, answer in zip(batch, answers, strict=True):
            if isinstance(answer, NoScriptError):
                unknown.append(call)
            elif call.answer.done():
                continue
            elif isinstance(answer, Exception):
                call.answer.set_exception(answer)
            else:
                call.answer.set_result(answer)
        return unknown

    async def _sent(self, batch: Sequence[Call]) -> Sequence[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in batch:
                arguments = (*call.keys, *map(str, call.arguments))
                pipe.execute_command("EVALSHA", call.script.sha, len(call.keys), *arguments)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers

    def _fail(self, calls: Iterable[Call], error: Exception) -> None:
        for call in calls:
            if not call.answer.done():
                call.answer.set_exception(ConnectionError(type(error).__name__))
