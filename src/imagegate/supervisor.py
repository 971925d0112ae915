"""Tasks that belong to the process and not to the request that began them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Supervisor:
    """Keeps a reference to every task it started; `drain` waits for them, then cancels what is left."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.abandoning = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for the task sees it; nobody need wait

    async def drain(self, patience_s: float) -> None:
        """After `patience_s` seconds the rest is cancelled; what is cancelled writes nothing any more."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=patience_s)
        self.abandoning = True
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=5)
