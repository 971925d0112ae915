"""Limits counted in this process alone: those of a single gateway, and of any while Redis does not answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

from imagegate.identity.limits import (
    IMAGES,
    NOTHING,
    SLOTS,
    TICKS,
    Taken,
    Want,
    fits,
    leak_ms,
    level_of,
    refusal,
)

SWEEP_EVERY_MS = 60_000


@dataclass(slots=True)
class Meter:
    """`ticks` as of `at_ms`; empty from `empty_ms` on."""

    ticks: int
    at_ms: int
    empty_ms: int


class LocalLimiter:
    """The twin of the Redis script, number for number. clock: seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._meters: dict[str, Meter] = {}
        self._slots: dict[str, dict[str, int]] = {}
        self._sweep_at_ms = 0
        self.fell_back = 0

    def __len__(self) -> int:
        """Buckets that are kept. Empty ones are dropped about once a minute."""
        return len(self._meters) + len(self._slots)

    async def take(self, wants: Sequence[Want], lease_s: float) -> Taken:
        if not wants:
            return NOTHING
        now_ms = int(self._clock() * 1000)
        self._sweep(now_ms)
        used = [self._used(want, now_ms) for want in wants]
        if not all(map(fits, wants, used)):
            raise refusal(wants, used)
        lease, until_ms = uuid4().hex, now_ms + round(lease_s * 1000)
        levels = []
        for want, before in zip(wants, used, strict=True):
            if want.kind == SLOTS:
                self._slots.setdefault(want.bucket, {})[lease] = until_ms
                levels.append(level_of(want, before + 1))
            else:
                ticks = before + want.cost * TICKS
                self._meters[want.bucket] = Meter(ticks, now_ms, now_ms + leak_ms(ticks, want.limit))
                levels.append(level_of(want, ticks))
        return Taken(lease, tuple(wants), tuple(levels))

    async def give_back(self, taken: Taken, *, images: int = 0, slot: bool = True) -> None:
        for want in taken.wants:
            if want.kind == SLOTS and slot:
                self._slots.get(want.bucket, {}).pop(taken.lease, None)
            elif want.kind == IMAGES and (meter := self._meters.get(want.bucket)):
                meter.ticks = max(0, meter.ticks - images * TICKS)

    def _used(self, want: Want, now_ms: int) -> int:
        if want.kind == SLOTS:
            held = self._slots.get(want.bucket, {})
            for lease in [lease for lease, until_ms in held.items() if until_ms <= now_ms]:
                del held[lease]
            return len(held)
        meter = self._meters.get(want.bucket)
        if meter is None:
            return 0
        # Above a limit that was lowered, the meter is as full as it can be.
        return max(0, min(meter.ticks, want.burst * TICKS) - (now_ms - meter.at_ms) * want.limit)

    def _sweep(self, now_ms: int) -> None:
        """Drop what is empty, so that memory follows the customers of the last minute."""
        if now_ms < self._sweep_at_ms:
            return
        self._sweep_at_ms = now_ms + SWEEP_EVERY_MS
        self._meters = {name: meter for name, meter in self._meters.items() if meter.empty_ms > now_ms}
        held = {
            name: {lease: until_ms for lease, until_ms in slots.items() if until_ms > now_ms}
            for name, slots in self._slots.items()
        }
        self._slots = {name: slots for name, slots in held.items() if slots}
