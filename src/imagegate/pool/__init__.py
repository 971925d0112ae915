"""Work that would block the event loop: in threads, and apart from this process what strangers' pictures may break."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from imagegate.errors import Overloaded
from imagegate.pool.apart import Bounds, Children, Unworkable

__all__ = ["Bounds", "Unworkable", "WorkPool"]

P = ParamSpec("P")
T = TypeVar("T")

CHILDREN = 2
"""Processes for what strangers sent, at most; a third picture waits."""


class WorkPool:
    """A thread pool with a bounded queue, first come, first served. `run` raises Overloaded when too much waits.

    More threads than cores finish nothing sooner, and the event loop waits longer for its turn among them.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        queue: int = 4096,
        name: str = "work",
        bounds: Bounds | None = None,
    ) -> None:
        """bounds: of what is done apart."""
        self._threads = threads or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix=name)
        self._queue = queue
        self._pending = 0
        self._bounds = bounds or Bounds()
        self._children: Children | None = None
        self._askers: WorkPool | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread and wait for it. A cancelled waiter leaves the work running to its end."""
        if self._pending >= self._queue + self._threads:
            raise Overloaded("Too many images are being worked on. Try again in a moment.")
        self._pending += 1
        future = self._executor.submit(work, *args, **kwargs)
        waiter = asyncio.wrap_future(future)
        waiter.add_done_callback(self._done)
        return await waiter

    async def apart(self, work: Callable[P, bytes], *args: P.args, **kwargs: P.kwargs) -> bytes:
        """As `run`, in a child process with limits on memory and CPU time: whatever decodes what a stranger sent.

        work: a function of a module, and arguments that can be pickled. Raises Overloaded, and Unworkable when the work
        raises, takes more than it may, or breaks its process; nobody else's work breaks with it.
        """
        if self._children is None or self._askers is None:
            self._children = Children(self._bounds)
            self._askers = WorkPool(threads=CHILDREN, queue=self._queue, name="apart")
        return await self._askers.run(self._children.ask, work, *args, **kwargs)

    @property
    def processes(self) -> int:
        """Children that are there for `apart`."""
        return 0 if self._children is None else len(self._children)

    def _done(self, _: object) -> None:
        self._pending -= 1

    def close(self) -> None:
        if self._children is not None and self._askers is not None:
            self._children.close()
            self._askers.close()
        self._executor.shutdown(wait=True, cancel_futures=True)
