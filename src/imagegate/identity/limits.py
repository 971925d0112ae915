"""Requests a minute, images a minute and concurrent generations: what is wanted, what is left, and who decides.

Rates are counted as a leaky meter (GCRA): everything taken raises the meter, time lowers it by the limit per minute,
and a take that would raise it above the limit is refused. One number a bucket, exact in the long run; whoever was
silent for a minute may spend a whole minute's worth at once. Concurrent generations hold slots with an end of their
own, so that those of a dead process free themselves.

Account and key, all kinds, are taken together or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from imagegate.domain import Principal
from imagegate.errors import CallerError

REQUESTS, IMAGES, SLOTS = "requests", "images", "slots"

TICKS = 60_000
"""What one request or image raises a meter by. It sinks by the limit every millisecond, so all sums are whole."""

MOST_IMAGES = 10
"""Of one request."""

LONGEST_WAIT_S = 120
SLOT_WAIT_S = 5


@dataclass(frozen=True, slots=True)
class Want:
    """`cost` units of one bucket. limit: per minute, or slots at once. burst: the most the bucket holds."""

    kind: str
    scope: str
    bucket: str
    limit: int
    burst: int
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Level:
    """How one bucket stands. reset_ms: until all of the limit is free again; 0 for slots."""

    kind: str
    scope: str
    limit: int
    remaining: int
    reset_ms: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What one request took. Give it back with the limiter it came from. `shared`: counted by all workers."""

    lease: str
    wants: tuple[Want, ...]
    levels: tuple[Level, ...]
    shared: bool = False

    @property
    def holds_slot(self) -> bool:
        return any(want.kind == SLOTS for want in self.wants)


NOTHING = Taken("", (), ())
"""Of a caller without limits."""


class RateLimited(CallerError):
    """429. `levels`: how all of the caller's limits stand. Asking again helps unless the limit is below the wish."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, levels: tuple[Level, ...], retry_after_s: int | None) -> None:
        super().__init__(message)
        self.levels = levels
        self.retry_after_s = retry_after_s
        self.should_retry = retry_after_s is not None


class ConcurrencyLimited(RateLimited):
    code = "concurrency_limit_exceeded"


class Limiter(Protocol):
    """Two implementations: in the process (`limits_local`) and shared through Redis (`limits_redis`)."""

    fell_back: int
    """Takes that were counted in the process because Redis did not answer."""

    async def take(self, wants: Sequence[Want], lease_s: float) -> Taken:
        """All or nothing. lease_s: when the slots are free again by themselves.

        Raises RateLimited, ConcurrencyLimited; then nothing was taken.
        """

    async def give_back(self, taken: Taken, *, images: int = 0, slot: bool = True) -> None:
        """The slot, and so many of the images. Once per take. Never raises: what is lost ends by itself."""


def wants_of(principal: Principal, images: int, *, slot: bool = True) -> tuple[Want, ...]:
    """One request for so many images, in every limited bucket of the account and the key. Empty: no limits.

    slot: false for what makes nothing, like a dry run.
    """
    wants = []
    for limits in principal.limits:
        owner = principal.key_id if limits.scope == "key" else "account"
        # One account, one hash tag: a proxy that spreads keys over nodes finds all buckets of a take on one.
        bucket = f"imagegate:{{{principal.account_id}}}:{principal.env}:{owner}"
        costs = (
            (REQUESTS, limits.requests_per_min, 1),
            (IMAGES, limits.images_per_min, images),
            (SLOTS, limits.concurrent, 1 if slot else 0),
        )
        wants += [
            Want(kind, limits.scope, f"{bucket}:{kind}", limit, limit, cost)
            for kind, limit, cost in costs
            if limit is not None and cost
        ]
    return tuple(wants)


def share_of(want: Want, workers: int) -> Want:
    """One worker's part of a limit, at least 1 of it. The bucket stays large enough for every request."""
    part = max(1, want.limit // workers) if want.limit else 0
    burst = max(part, min(MOST_IMAGES, want.limit)) if want.kind == IMAGES else part
    return replace(want, limit=part, burst=burst)


def fits(want: Want, used: int) -> bool:
    """used: slots in use, or ticks on the meter."""
    if want.kind == SLOTS:
        return used + want.cost <= want.burst
    return used + want.cost * TICKS <= want.burst * TICKS


def level_of(want: Want, used: int) -> Level:
    if want.kind == SLOTS:
        return Level(want.kind, want.scope, want.limit, max(0, want.burst - used), 0)
    free = min(want.limit, max(0, want.burst * TICKS - used) // TICKS)
    return Level(want.kind, want.scope, want.limit, free, leak_ms(used, want.limit) if want.limit else 0)


def leak_ms(ticks: int, limit: int) -> int:
    """Until so many ticks have leaked away, rounded up."""
    return -(-ticks // limit)


def refusal(wants: Sequence[Want], used: Sequence[int]) -> RateLimited:
    """Why a take failed, from how its buckets stood: what never fits first, then what takes longest."""
    levels = tuple(level_of(want, used_) for want, used_ in zip(wants, used, strict=True))
    refused = [(want, used_) for want, used_ in zip(wants, used, strict=True) if not fits(want, used_)]
    waits = [(wait_ms(want, used_), want) for want, used_ in refused]
    never = next((want for wait, want in waits if wait is None), None)
    if never is not None:
        error = ConcurrencyLimited if never.kind == SLOTS else RateLimited
        return error(never_text(never), levels, None)
    wait, want = max(((wait or 0, want) for wait, want in waits), key=lambda pair: pair[0])
    retry_after_s = min(max(1, -(-wait // 1000)), LONGEST_WAIT_S)
    if want.kind == SLOTS:
        text = (
            f"This {want.scope} has {want.limit} generations running, as many as it may. "
            "Wait until one has ended. Nothing was held."
        )
        return ConcurrencyLimited(text, levels, SLOT_WAIT_S)
    text = (
        f"This {want.scope} may ask for {want.limit} {want.kind} a minute, and they are used up. "
        f"Try again in {retry_after_s} s. Nothing was held."
    )
    return RateLimited(text, levels, retry_after_s)


def wait_ms(want: Want, used: int) -> int | None:
    """Until a refused want fits; None = never. For slots nobody knows: 0."""
    if want.cost > want.burst:
        return None
    if want.kind == SLOTS:
        return 0
    return leak_ms(used + (want.cost - want.burst) * TICKS, want.limit)


def never_text(want: Want) -> str:
    if want.kind == IMAGES and want.limit:
        return (
            f"This call asks for {want.cost} images; this {want.scope} may ask for {want.limit} a minute. "
            "Ask for fewer. Nothing was held."
        )
    what = "make no generations at all" if want.kind == SLOTS else f"ask for no {want.kind} at all"
    return f"This {want.scope} may {what}: its limit is 0. The operator sets it. Nothing was held."
