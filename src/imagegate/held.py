"""Bytes that are held in memory, of a budget: who finds no room waits, in the order of arrival."""

import asyncio
from collections import deque


class HeldBytes:
    """One budget. `peak_bytes`: the most that was held at once."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.held_bytes = self.peak_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def fits(self, more_bytes: int) -> bool:
        return self.held_bytes + more_bytes <= self.budget_bytes

    def add(self, more_bytes: int) -> None:
        """Whether or not there is room."""
        self.held_bytes += more_bytes
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)

    def give(self, size_bytes: int) -> None:
        """Back; whoever is next and finds room then has it."""
        self.held_bytes -= size_bytes
        while self._waiting and self.fits(self._waiting[0][0]):
            more_bytes, turn = self._waiting.popleft()
            self.add(more_bytes)
            turn.set_result(None)

    async def take(self, more_bytes: int, patience_s: float) -> bool:
        """Whether they are held now; false: there was no room for so long."""
        if not self._waiting and self.fits(more_bytes):
            self.add(more_bytes)
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (more_bytes, turn)
        self._waiting.append(place)
        try:
            await asyncio.wait({turn}, timeout=patience_s)
        except asyncio.CancelledError:
            if turn.done():
                self.give(more_bytes)
            raise
        finally:
            if not turn.done():  # whoever leaves lets those behind come up
                self._waiting.remove(place)
                self.give(0)
        return turn.done()
