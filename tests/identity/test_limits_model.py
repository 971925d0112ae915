"""Both limiters give the same answers to the same history, and neither ever lets more through than the limits say."""

from dataclasses import dataclass, field
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagegate.domain import Principal
from imagegate.identity.limits import TICKS, Level, Limiter, RateLimited, Taken, Want, wants_of
from imagegate.identity.limits_local import LocalLimiter
from imagegate.identity.limits_redis import RedisLimiter
from tests.identity.conftest import Clock
from tests.identity.wanting import account, key

Limit = st.none() | st.integers(0, 12)
Limits = st.tuples(Limit, Limit, Limit)


@dataclass(frozen=True)
class Take:
    who: int
    images: int
    lease_ms: int


@dataclass(frozen=True)
class GiveBack:
    which: int
    images: bool
    slot: bool


@dataclass(frozen=True)
class Wait:
    ms: int


Steps = st.lists(
    st.builds(Take, st.integers(0, 1), st.integers(1, 5), st.integers(1, 90_000))
    | st.builds(GiveBack, st.integers(0, 30), st.booleans(), st.booleans())
    | st.builds(Wait, st.integers(0, 40_000)),
    min_size=5,
    max_size=40,
)


@dataclass
class Player:
    """Plays one history on one limiter and writes down what it was told."""

    limiter: Limiter
    clock: Clock
    told: list[object] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    entered: list[tuple[int, tuple[Want, ...]]] = field(default_factory=list)

    async def play(self, step: Take | GiveBack, callers: tuple[Principal, ...]) -> None:
        match step:
            case Take(who, images, lease_ms):
                self.told.append(await self.take(wants_of(callers[who], images), lease_ms))
            case GiveBack(which, images, slot) if self.taken:
                taken = self.taken[which % len(self.taken)]
                asked = max((want.cost for want in taken.wants if want.kind == "images"), default=0)
                await self.limiter.give_back(taken, images=asked if images else 0, slot=slot)

    async def take(self, wants: tuple[Want, ...], lease_ms: int) -> tuple[object, ...]:
        try:
            taken = await self.limiter.take(wants, lease_ms / 1000)
        except RateLimited as refused:
            return (refused.code, refused.message, refused.retry_after_s, refused.levels)
        self.taken.append(taken)
        self.entered.append((round(self.clock.now * 1000), taken.wants))
        return ("taken", taken.levels)


@given(ofaccount=Limits, ofkeys=st.tuples(Limits, Limits), steps=Steps)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_both_limiters_tell_the_same_story(
    told_time: tuple[RedisLimiter, Clock],
    ofaccount: tuple[int | None, ...],
    ofkeys: tuple[tuple[int | None, ...], ...],
    steps: list[Take | GiveBack | Wait],
) -> None:
    redis, clock = told_time
    id_ = uuid4()
    callers = tuple(
        Principal(id_, "live", uuid4(), limits=(account(*ofaccount), key(*limits))) for limits in ofkeys
    )
    local, shared = Player(LocalLimiter(clock), clock), Player(redis, clock)

    for step in steps:
        if isinstance(step, Wait):
            clock.now += step.ms / 1000
            continue
        await local.play(step, callers)
        await shared.play(step, callers)

    assert local.told == shared.told
    assert shared.limiter.fell_back == 0
    assert all(0 <= level.remaining <= level.limit for told in local.told for level in levels_of(told))
    if not any(isinstance(step, GiveBack) for step in steps):
        assert_within_limits(local.entered)


def levels_of(told: object) -> tuple[Level, ...]:
    assert isinstance(told, tuple)
    levels: tuple[Level, ...] = told[-1]
    return levels


def assert_within_limits(entered: list[tuple[int, tuple[Want, ...]]]) -> None:
    """Between any two moments no more went in than a full bucket and what leaked meanwhile."""
    history: dict[str, list[tuple[int, Want]]] = {}
    for at_ms, wants in entered:
        for want in wants:
            if want.kind != "slots":
                history.setdefault(want.bucket, []).append((at_ms, want))
    for events in history.values():
        for first, (since_ms, want) in enumerate(events):
            spent = 0
            for at_ms, later in events[first:]:
                spent += later.cost * TICKS
                assert spent <= want.limit * (TICKS + at_ms - since_ms)
