"""The breaker of one offering: closed while its provider does well, open after failures, half open for one real call.

Pure: every moment is told by the caller, in seconds of one clock that never goes back.

    closed ──too many failures──▶ open ──cool-down over──▶ half open ──the one call succeeds──▶ closed
                                    ▲                          │
                                    └──── it fails: longer ────┘

Calls last minutes. So what is counted are calls that were sent and calls that ended, in a window of minutes, and a
call that was sent before the breaker changed says nothing about it afterwards.
"""

from dataclasses import dataclass, field

WINDOW_S = 300.0
SLICES = 20
SLICE_S = WINDOW_S / SLICES
LEAST_FAILURES = 5
FAILED_SHARE = 0.5
FAILURES_IN_A_ROW = 5
FIRST_COOL_DOWN_S = 15.0
LONGEST_COOL_DOWN_S = 300.0
JITTER = 0.25
"""A cool-down is up to so much longer, by chance, so that processes do not try all at once."""


@dataclass(slots=True)
class Slice:
    """What was counted in one part of the window. number: which part since the clock began."""

    number: int = -1
    sent: int = 0
    good: int = 0
    failed: int = 0

    def begin(self, number: int) -> None:
        self.number, self.sent, self.good, self.failed = number, 0, 0, 0


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was sent, and when. era: what the breaker had been through by then. probe: it is the one call."""

    since: float
    era: int
    probe: bool


@dataclass(slots=True)
class Breaker:
    """`open_until` None: closed. `probing`: the one call of a breaker that is open is under way."""

    open_until: float | None = None
    cool_down_s: float = FIRST_COOL_DOWN_S
    probing: bool = False
    era: int = 0
    in_a_row: int = 0
    slices: list[Slice] = field(default_factory=lambda: [Slice() for _ in range(SLICES)])

    def state(self, now: float) -> str:
        if self.open_until is None:
            return "closed"
        return "half_open" if self.probing or now >= self.open_until else "open"

    def send(self, now: float) -> Call:
        """Count a call that is about to be sent. While the breaker is not closed it is the one call."""
        probe = self.open_until is not None
        self._slice(now).sent += 1
        self.probing = self.probing or probe
        return Call(now, self.era, probe)

    def succeed(self, call: Call, now: float) -> None:
        if call.era != self.era:
            return
        if call.probe:
            self.close()
        else:
            self._slice(now).good += 1
            self.in_a_row = 0

    def fail(self, call: Call, now: float, chance: float) -> None:
        """chance: from 0 to 1, for the length of the cool-down."""
        if call.era != self.era:
            return
        self._slice(now).failed += 1
        self.in_a_row += 1
        if call.probe:
            self.probing = False
            if self.open_until is not None and call.since >= self.open_until:  # not one sent before its time
                self.cool_down_s = min(2 * self.cool_down_s, LONGEST_COOL_DOWN_S)
                self.rest(now, chance)
        elif self._is_too_much(now):
            self.cool_down_s = FIRST_COOL_DOWN_S
            self.rest(now, chance)

    def forget(self, call: Call) -> None:
        """The call ended in a way that says nothing about the provider."""
        if call.probe and call.era == self.era:
            self.probing = False

    def rest(self, now: float, chance: float) -> None:
        """Open. Calls that are under way say nothing any more."""
        self.open_until = now + self.cool_down_s * (1 + JITTER * chance)
        self.probing = False
        self.era += 1

    def close(self) -> None:
        """As new: what led to the opening is forgotten."""
        self.open_until, self.probing, self.in_a_row = None, False, 0
        self.cool_down_s = FIRST_COOL_DOWN_S
        self.era += 1
        for part in self.slices:
            part.begin(-1)

    def counted(self, now: float) -> tuple[int, int, int]:
        """Calls sent, ended well and failed, in the window."""
        oldest = int(now / SLICE_S) - SLICES
        live = [part for part in self.slices if part.number > oldest]
        return sum(p.sent for p in live), sum(p.good for p in live), sum(p.failed for p in live)

    def _is_too_much(self, now: float) -> bool:
        if self.in_a_row >= FAILURES_IN_A_ROW:
            return True
        _, good, failed = self.counted(now)
        return failed >= LEAST_FAILURES and failed >= FAILED_SHARE * (good + failed)

    def _slice(self, now: float) -> Slice:
        number = int(now / SLICE_S)
        part = self.slices[number % SLICES]
        if part.number != number:
            part.begin(number)
        return part
