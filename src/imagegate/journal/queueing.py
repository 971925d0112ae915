"""An item that waits in the journal, and how whoever waits for it is told."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from imagegate.errors import ImagegateError
from imagegate.journal.items import Item, Outcome


@dataclass(slots=True, eq=False)
class Waiting:
    item: Item
    future: "asyncio.Future[Any]"
    since: float = field(default_factory=monotonic)

    @classmethod
    def of(cls, item: Any) -> "Waiting":
        return cls(item, asyncio.get_running_loop().create_future())


def finish(waiting: Waiting, outcome: Outcome) -> None:
    if isinstance(outcome, ImagegateError):
        fail(waiting, outcome)
    elif not waiting.future.done():
        waiting.future.set_result(outcome)


def fail(waiting: Waiting, error: Exception) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
    with contextlib.suppress(asyncio.InvalidStateError, asyncio.CancelledError):
        waiting.future.exception()  # a caller that has gone reads it no more
