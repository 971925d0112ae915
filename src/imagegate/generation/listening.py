"""Whoever waits for a generation: it may leave, and is told what the request took of its limits."""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from imagegate.domain import Preview
from imagegate.identity.limits import Taken


class Listening(Protocol):
    async def is_gone(self) -> bool: ...

    def when_gone(self, act: Callable[[], None]) -> None:
        """Call `act` once when the listener leaves before it has its whole answer; at once if it has left."""

    def admitted(self, taken: Taken) -> None: ...

    def opened(self, generation_id: UUID) -> None:
        """The hold is taken, now or for an equal request before: what follows no longer needs the listener."""

    async def preview(self, preview: Preview, attempt: int) -> None:
        """An image on its way. attempt: the call it is from. Whoever does not listen gets none; nothing waits."""


class Patient:
    """A listener that never leaves."""

    async def is_gone(self) -> bool:
        return False

    def when_gone(self, act: Callable[[], None]) -> None:
        return None

    def admitted(self, taken: Taken) -> None:
        return None

    def opened(self, generation_id: UUID) -> None:
        return None

    async def preview(self, preview: Preview, attempt: int) -> None:
        return None
