"""Long answers of providers are read a few at a time: what was read is in memory until its pictures are stored.

An answer that waits stays in its connection, whose sender waits too. Otherwise hundreds of pictures that are ready at
the same moment would all be read at once.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from imagegate.held import HeldBytes

LONG_BYTES = 256 * 1024
"""Shorter ones never wait."""
UNTOLD_BYTES = 3 * 1024 * 1024
"""What one takes that does not tell its length: a picture of 2 MB as base64."""
BUDGET_BYTES = 24 * 1024 * 1024
"""With more in memory none is stored sooner: they are decoded by a few threads."""
PATIENCE_S = 3.0
"""None waits for longer, nor for more than half of the time that is left: a picture that was made must not be lost for
want of room. And none has its room for longer: one that comes in drops must not keep others waiting."""


class Call:
    """What the answers of one call to a provider hold, until it has ended."""

    def __init__(self, held: HeldBytes, deadline: float) -> None:
        self._held, self._deadline = held, deadline
        self._size_bytes = 0
        self._begun = self._ended = False
        self._clock: asyncio.TimerHandle | None = None

    async def take(self, size_bytes: int) -> None:
        """Its first answer waits for room. Those after it do not: whoever waits and holds some may wait for itself."""
        if self._ended:
            return
        loop, first, self._begun = asyncio.get_running_loop(), not self._begun, True
        size_bytes = min(size_bytes, self._held.budget_bytes)
        patience_s = min(PATIENCE_S, max(self._deadline - loop.time(), 0.0) / 2)
        if not first or not await self._held.take(size_bytes, patience_s):
            self._held.add(size_bytes)
        self._size_bytes += size_bytes
        if first:
            self._clock = loop.call_later(PATIENCE_S, self.end)

    def end(self) -> None:
        """Its room is free again. More than once is no fault."""
        self._ended = True
        if self._clock is not None:
            self._clock.cancel()
        self._held.give(self._size_bytes)
        self._size_bytes = 0


CALL: ContextVar[Call | None] = ContextVar("imagegate_call", default=None)
"""Adapters, which read the answers, know nothing of it; a generation runs in a context of its own."""


class Arriving:
    """One per process."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self.held = HeldBytes(budget_bytes)

    @contextmanager
    def call(self, deadline: float) -> Iterator[None]:
        """Around a call to a provider, until its pictures are stored: then there is room again.

        deadline: of the call, by the event loop's clock.
        """
        call = Call(self.held, deadline)
        token = CALL.set(call)
        try:
            yield
        finally:
            CALL.reset(token)
            call.end()


async def make_room(declared_bytes: int) -> None:
    """Before a long answer is read, once; returns when there is room. declared_bytes: 0 where it is not told."""
    call = CALL.get()
    if call is not None:
        await call.take(declared_bytes or UNTOLD_BYTES)
