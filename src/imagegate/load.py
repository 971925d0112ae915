"""What one process has taken on, and when it takes no more: generations in flight, bytes held, a late event loop.

Whoever is refused here has cost nearly nothing: nothing was parsed, no wallet was touched, and trying again is safe.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from uuid import UUID

from imagegate.errors import Overloaded
from imagegate.held import HeldBytes
from imagegate.settings import Settings
from imagegate.turns import Refusals, Turns

SMALL_BYTES = 64 * 1024
"""Bodies up to here are not weighed: what so many of them hold is bounded by the generations in flight."""
WEIGHT_PER_BYTE = 2.5
"""What a body takes at its peak beside its own bytes: text, decoded pictures, the form that a provider takes."""
PATIENCE_S = 5.0
"""How long a large body waits for room. Meanwhile none of it is read, so that its sender waits too."""
WAITED_S = 10.0
"""For so long after a refusal its account counts as one that waits."""
LATE_LOOKS = 3
"""Looks in a row that must find the loop late: one long step alone is no overload."""
BURST_S = 0.5
"""It may be late for so long before anybody is shed: hundreds who come at the same moment are simply worked off."""
BURST_TURN_S = 2.0
BURST_WAITING = 600
"""So long, and so many, may wait for their turn to begin; once some were shed, as long as in the journal's queue."""
WARY_S = 10.0
"""For so long after shedding nothing counts as a burst: an overload that comes and goes is one."""
WAITS = 2.5
"""The journal's queue may be so much longer than the loop is late: an open waits for a batch or two as a rule."""
REASONS = ("late", "generations", "share", "bytes")


def weight_of(size_bytes: int) -> int:
    return int(size_bytes * WEIGHT_PER_BYTE)


class Lease:
    """Bytes of the budget that somebody holds."""

    def __init__(self, load: "Load", held_bytes: int) -> None:
        self._load = load
        self.held_bytes = held_bytes

    def more(self, size_bytes: int) -> None:
        """So many bytes have come. Raises Overloaded where the budget has no room for what they take."""
        weight = weight_of(size_bytes)
        self._load.take(weight)
        self.held_bytes += weight

    def end(self) -> None:
        self._load.bytes.give(self.held_bytes)
        self.held_bytes = 0


class Load:
    """One per process. Every count is of the present; `shed` counts refusals by reason since the start."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_in_flight
        self._most_calls = settings.max_provider_calls or max(1, settings.max_in_flight // 2)
        self._late_s = settings.shed_late_ms / 1000
        self.bytes = HeldBytes(settings.max_held_bytes)
        self.accounts: Counter[UUID] = Counter()
        self.in_flight = 0
        self.calls: Counter[str] = Counter()
        self.shed: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.shedding = False
        self.turns = Turns()
        self.refusals = Refusals()
        self._refused: dict[UUID, float] = {}
        self._late = 0
        self._late_since = self._wary_until = float("-inf")

    def looked(self, late_s: float, waited_s: float = 0.0) -> None:
        """One look found the loop so late, and an open of the journal that has waited for so long.

        While that is longer than the loop may be late nobody begins: whoever waits in the journal is refused in time.
        """
        now, most_s = monotonic(), self._late_s * WAITS
        wary = now < self._wary_until
        most_turn_s = most_s if wary else BURST_TURN_S
        crowded = self.turns.waiting > BURST_WAITING or self.turns.waited_s > most_turn_s
        self.turns.hold(waited_s > self._late_s)
        late = crowded or late_s > self._late_s or waited_s > most_s
        self._late = self._late + 1 if late else 0
        if self._late == 1:
            self._late_since = now
        lasting = crowded or wary or now - self._late_since >= BURST_S
        self.shedding = self._late >= LATE_LOOKS and lasting
        if self.shedding:
            self._wary_until = now + WARY_S

    def check_late(self) -> None:
        """Raises Overloaded while the loop or a queue is late, look after look, and it is no burst."""
        if self.shedding:
            self._refuse("late", "This gateway has more to do than it can. Try again in a moment.")

    def enter(self, account: UUID) -> None:
        """Count one generation of the account. Raises Overloaded.

        One account alone may have every place; while others wait, half of them.
        """
        mine = self.accounts[account]
        if self.in_flight >= self._most:
            self._refused[account] = monotonic()
            self._refuse(
                "generations",
                "This gateway is working on as many generations as it takes. Try again in a moment.",
            )
        if self._refused and mine * 2 >= self._most and self._others_wait(account):
            self._refuse(
                "share",
                "This account has its share of a gateway that others wait for. Try again in a moment.",
            )
        self.accounts[account] = mine + 1
        self.in_flight += 1

    def leave(self, account: UUID) -> None:
        """Once per `enter`."""
        self.in_flight -= 1
        left = self.accounts[account] - 1
        if left:
            self.accounts[account] = left
        else:
            del self.accounts[account]

    def _others_wait(self, account: UUID) -> bool:
        since = monotonic() - WAITED_S
        self._refused = {other: at for other, at in self._refused.items() if at > since}
        return any(other != account for other in self._refused)

    def is_busy(self, provider: str) -> bool:
        """Whether as many calls to it are in flight as may be: one that hangs must not take every place."""
        return self.calls[provider] >= self._most_calls

    @contextmanager
    def calling(self, provider: str) -> Iterator[None]:
        self.calls[provider] += 1
        try:
            yield
        finally:
            self.calls[provider] -= 1

    @asynccontextmanager
    async def reading(self, size_bytes: int) -> AsyncIterator[Lease]:
        """Around reading and parsing a body of so many bytes; 0: nobody knows, and the lease grows as they come.

        Waits for room in the order of arrival, up to PATIENCE_S. Raises Overloaded.
        """
        weight = weight_of(size_bytes)
        if not await self.bytes.take(weight, PATIENCE_S):
            self._refuse("bytes", NO_BYTES)
        lease = Lease(self, weight)
        try:
            yield lease
        finally:
            lease.end()

    def lease(self, weight_bytes: int) -> Lease:
        """Of what was read already: it counts, and is not refused. Whoever asks for it ends it."""
        self.bytes.add(weight_bytes)
        return Lease(self, weight_bytes)

    def take(self, more_bytes: int) -> None:
        """Raises Overloaded."""
        if not self.bytes.fits(more_bytes):
            self._refuse("bytes", NO_BYTES)
        self.bytes.add(more_bytes)

    def _refuse(self, reason: str, text: str) -> None:
        self.shed[reason] += 1
        raise Overloaded(text)


NO_BYTES = "This gateway holds as many bytes of pictures as it may. Try again in a moment."
