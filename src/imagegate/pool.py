"""Threads for work that would block the event loop: drawing, decoding, hashing, durable writes."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from imagegate.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class WorkPool:
    """A thread pool with a bounded queue, first come, first served. `run` raises Overloaded when too much waits.

    More threads than cores finish nothing sooner, and the event loop waits longer for its turn among them.
    """

    def __init__(self, *, threads: int | None = None, queue: int = 4096, name: str = "work") -> None:
        self._threads = threads or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix=name)
        self._queue = queue
        self._pending = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread and wait for it. A cancelled waiter leaves the work running to its end."""
        if self._pending >= self._queue + self._threads:
            raise Overloaded("Too many images are being worked on. Try again in a moment.")
        self._pending += 1
        future = self._executor.submit(work, *args, **kwargs)
        waiter = asyncio.wrap_future(future)
        waiter.add_done_callback(self._done)
        return await waiter

    def _done(self, _: object) -> None:
        self._pending -= 1

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
