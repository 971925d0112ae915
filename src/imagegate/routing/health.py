"""How each offering does, as this process has seen it: its breaker, its usual time, and what its provider asked for.

Nothing here waits, locks or fails. Health decides an order and a pause, never alone that a request fails: when nobody
else is left, an offering that rests is asked all the same, by one call at a time.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

from imagegate.routing.breaker import Breaker, Call
from imagegate.routing.budget import RetryBudget

MEASURED = 64
"""The usual time is the median of so many successful calls, the latest."""
LONGEST_NOT_BEFORE_S = 600.0
MOST_OFFERINGS = 10_000


@dataclass(slots=True)
class Record:
    """One offering. not_before: its provider was busy and asked to be left alone until then.

    rests: False for one that is asked whatever it did before. trying: it rests, and one call finds out whether it is
    back. changed: since it was last written down.
    """

    provider: str
    offering: str
    budget: RetryBudget
    rests: bool = True
    breaker: Breaker = field(default_factory=Breaker)
    not_before: float = 0.0
    trying: bool = False
    seconds: "deque[float]" = field(default_factory=lambda: deque(maxlen=MEASURED))
    changed: bool = False
    _p50_s: float | None = None

    @property
    def p50_s(self) -> float | None:
        """The median of its latest successful calls; None = none was made."""
        if self._p50_s is None and self.seconds:
            self._p50_s = median(self.seconds)
        return self._p50_s

    def measured(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._p50_s = None


@dataclass(frozen=True, slots=True)
class OfferingHealth:
    """What operators see of an offering. until: when it will be asked again; calls and failures: in the window.

    retries_left: second attempts that its provider's budget allows now.
    """

    provider: str
    offering: str
    state: str
    until: datetime | None
    p50_s: float | None
    calls: int
    failures: int
    retries_left: int


class Health:
    """The records of one process. tireless: providers whose offerings never rest.

    clock: seconds that never go back; wall: seconds since 1970; chance: from 0 to 1.
    """

    def __init__(
        self,
        tireless: frozenset[str] = frozenset(),
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._tireless = tireless
        self.clock, self.wall, self.chance = clock, wall, chance
        self._records: dict[tuple[str, str], Record] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._turns = 0

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def of(self, provider: str, offering: str) -> Record:
        """The record of an offering, by the name that its provider gives it."""
        record = self._records.get((provider, offering))
        if record is None:
            if len(self._records) >= MOST_OFFERINGS:
                self.forget()
            budget = self._budgets.get(provider)
            if budget is None:
                budget = self._budgets[provider] = RetryBudget(at=self.clock())
            record = Record(provider, offering, budget, rests=provider not in self._tireless)
            self._records[provider, offering] = record
        return record

    def forget(self) -> None:
        """Begin anew: whatever was seen is seen no more."""
        self._records.clear()
        self._budgets.clear()

    def is_clear(self, record: Record) -> bool:
        """True when it is asked like any other."""
        return record.breaker.open_until is None and record.not_before <= self.clock()

    def is_resting(self, record: Record) -> bool:
        """True when others go first. One whose cool-down is over takes its place again, for one call."""
        if record.breaker.open_until is None and record.not_before == 0:
            return False
        now, until = self.clock(), record.breaker.open_until
        if record.not_before > now:
            return True
        return until is not None and (record.trying or now < until)

    @contextmanager
    def trying(self, record: Record) -> Iterator[None]:
        """While it rests one call at a time finds out whether it is back; nobody else may try meanwhile."""
        record.trying = True
        try:
            yield
        finally:
            record.trying = False

    def turn(self) -> int:
        """0, 1, 2 … for those who take turns."""
        self._turns += 1
        return self._turns - 1

    def send(self, record: Record, *, again: bool = False) -> Call:
        """A call is sent; its end is told to `succeed`, `fail` or `forget_call`. again: a second attempt."""
        if not again:
            record.budget.first()
        return record.breaker.send(self.clock())

    def succeed(self, record: Record, call: Call, *, timed: bool = True) -> None:
        """The provider did its part: it made the images, or said that it will not make them (`timed` False)."""
        now = self.clock()
        record.changed, record.not_before = True, 0.0
        record.breaker.succeed(call, now)
        if timed:
            record.measured(now - call.since)

    def fail(self, record: Record, call: Call, wait_s: float | None = None) -> None:
        """wait_s: how long the provider asked to be left alone."""
        record.changed = True
        if not record.rests:
            return
        now = self.clock()
        record.breaker.fail(call, now, self.chance())
        if wait_s is not None:
            record.not_before = max(record.not_before, now + min(wait_s, LONGEST_NOT_BEFORE_S))

    def forget_call(self, record: Record, call: Call) -> None:
        """The call's end says nothing about the provider."""
        record.breaker.forget(call)

    def may_try_again(self, record: Record) -> bool:
        """Take a second attempt from the provider's budget; False when none is left or the offering rests by now."""
        return record.breaker.open_until is None and record.budget.spend(self.clock())

    def try_now(self, provider: str, offering: str | None = None) -> list[str]:
        """End the rest of one of the provider's offerings, or of all: the next call tells whether it is back.

        Gives the names of those that rested.
        """
        tried = []
        for record in self:
            if (
                record.provider != provider
                or offering not in (None, record.offering)
                or self.is_clear(record)
            ):
                continue
            now = self.clock()
            if record.breaker.open_until is not None:
                record.breaker.open_until = min(record.breaker.open_until, now)
            record.not_before, record.changed = 0.0, True
            tried.append(record.offering)
        return sorted(tried)

    def until(self, record: Record) -> datetime | None:
        """When it is asked again as before; None = now."""
        until = max(record.breaker.open_until or 0.0, record.not_before)
        left_s = until - self.clock()
        return datetime.fromtimestamp(self.wall() + left_s, UTC) if left_s > 0 else None

    def snapshot(self) -> list[OfferingHealth]:
        """All offerings that were asked, by provider and offering."""
        now = self.clock()
        return [self._seen(record, now) for record in sorted(self, key=lambda r: (r.provider, r.offering))]

    def _seen(self, record: Record, now: float) -> OfferingHealth:
        calls, _, failures = record.breaker.counted(now)
        return OfferingHealth(
            provider=record.provider,
            offering=record.offering,
            state="open" if record.not_before > now else record.breaker.state(now),
            until=self.until(record),
            p50_s=record.p50_s,
            calls=calls,
            failures=failures,
            retries_left=int(record.budget.now_left(now)),
        )
