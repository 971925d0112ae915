"""What both limiters promise, on both."""

import asyncio
from dataclasses import replace

import pytest

from imagegate.domain import Principal
from imagegate.identity.limits import (
    NOTHING,
    ConcurrencyLimited,
    Level,
    Limiter,
    RateLimited,
    Taken,
    wants_of,
)
from tests.identity.conftest import Clock
from tests.identity.wanting import account, caller, key, one

LEASE_S = 300.0


async def attempt(limiter: Limiter, principal: Principal, images: int = 1) -> Taken | RateLimited:
    try:
        return await limiter.take(one(principal, images), LEASE_S)
    except RateLimited as refused:
        return refused


async def test_a_caller_without_limits_takes_nothing(limiter: Limiter) -> None:
    principal = caller()

    assert one(principal, 10) == ()
    assert await limiter.take((), LEASE_S) is NOTHING
    await limiter.give_back(NOTHING, images=10)


async def test_a_limit_of_one_kind_leaves_the_others_alone() -> None:
    assert [(want.kind, want.limit, want.cost) for want in one(caller(key(images=9)), 4)] == [
        ("images", 9, 4)
    ]


async def test_requests_are_refused_above_the_limit_and_come_back_one_by_one(
    limiter: Limiter, clock: Clock
) -> None:
    principal = caller(key(requests=6))
    for left in range(5, -1, -1):
        taken = await limiter.take(one(principal), LEASE_S)
        assert taken.levels[0].remaining == left

    with pytest.raises(RateLimited) as refused:
        await limiter.take(one(principal), LEASE_S)

    assert refused.value.status == 429
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.should_retry
    assert refused.value.retry_after_s == 10
    clock.now += 9.999
    assert isinstance(await attempt(limiter, principal), RateLimited)
    clock.now += 0.001
    assert isinstance(await attempt(limiter, principal), Taken)
    assert isinstance(await attempt(limiter, principal), RateLimited)


async def test_no_minute_after_the_first_brings_more_than_the_limit(limiter: Limiter, clock: Clock) -> None:
    principal = caller(key(requests=7))
    passed = []
    for _ in range(240):
        passed.append(isinstance(await attempt(limiter, principal), Taken))
        clock.now += 1

    assert sum(passed[:60]) <= 14
    assert [sum(passed[minute : minute + 60]) for minute in (60, 120, 180)] == [7, 7, 7]


async def test_images_count_as_many_as_are_asked_for(limiter: Limiter) -> None:
    principal = caller(key(images=10))

    taken = await limiter.take(one(principal, 7), LEASE_S)

    assert taken.levels == (Level("images", "key", 10, 3, 42_000),)
    refused = await attempt(limiter, principal, 4)
    assert isinstance(refused, RateLimited)
    assert refused.retry_after_s == 6
    assert isinstance(await attempt(limiter, principal, 3), Taken)


async def test_a_request_that_can_never_fit_says_so_and_is_not_to_be_repeated(limiter: Limiter) -> None:
    refused = await attempt(limiter, caller(key(images=3)), 4)

    assert isinstance(refused, RateLimited)
    assert "Ask for fewer" in refused.message
    assert (refused.should_retry, refused.retry_after_s) == (False, None)


@pytest.mark.parametrize("limits", [key(requests=0), key(images=0), key(concurrent=0)])
async def test_a_limit_of_zero_lets_nothing_through(limiter: Limiter, limits: object) -> None:
    refused = await attempt(limiter, caller(limits))  # type: ignore[arg-type]

    assert isinstance(refused, RateLimited)
    assert refused.should_retry is False


async def test_of_200_at_once_exactly_as_many_get_in_as_there_are_slots(limiter: Limiter) -> None:
    principal = caller(key(concurrent=10), account(requests=500, images=500))

    ends = await asyncio.gather(*(attempt(limiter, principal) for _ in range(200)))

    taken = [end for end in ends if isinstance(end, Taken)]
    refused = [end for end in ends if isinstance(end, ConcurrencyLimited)]
    assert (len(taken), len(refused)) == (10, 190)
    assert {(error.code, error.retry_after_s) for error in refused} == {("concurrency_limit_exceeded", 5)}
    assert len({one_.lease for one_ in taken}) == 10
    for one_ in taken:
        await limiter.give_back(one_)
    again = await asyncio.gather(*(attempt(limiter, principal) for _ in range(11)))
    assert sum(isinstance(end, Taken) for end in again) == 10


async def test_a_refusal_by_one_limit_consumes_none_of_the_others(limiter: Limiter) -> None:
    principal = caller(key(concurrent=1), account(requests=100, images=100))
    first = await limiter.take(one(principal, 5), LEASE_S)

    for _ in range(50):
        assert isinstance(await attempt(limiter, principal, 5), ConcurrencyLimited)

    await limiter.give_back(first)
    second = await limiter.take(one(principal, 5), LEASE_S)
    left = {level.kind: level.remaining for level in second.levels}
    assert left == {"requests": 98, "images": 90, "slots": 0}


async def test_keys_of_one_account_share_its_limit_and_not_each_other_s(limiter: Limiter) -> None:
    first = caller(key(requests=2), account(requests=3))
    second = caller(key(requests=2), account(requests=3), first.account_id)

    ends = [await attempt(limiter, who) for who in (first, first, first, second, second)]

    assert [isinstance(end, Taken) for end in ends] == [True, True, False, True, False]
    assert "This key" in str(ends[2])
    assert "This account" in str(ends[4])


async def test_another_environment_has_limits_of_its_own(limiter: Limiter) -> None:
    live = caller(key(requests=1))
    test = Principal(live.account_id, "test", live.key_id, limits=live.limits)

    assert isinstance(await attempt(limiter, live), Taken)
    assert isinstance(await attempt(limiter, test), Taken)
    assert isinstance(await attempt(limiter, live), RateLimited)


async def test_a_slot_whose_lease_is_over_is_free_again(limiter: Limiter, clock: Clock) -> None:
    principal = caller(key(concurrent=2))
    await limiter.take(one(principal), 10)
    await limiter.take(one(principal), 100)

    clock.now += 9.999
    assert isinstance(await attempt(limiter, principal), ConcurrencyLimited)
    clock.now += 0.001
    assert isinstance(await attempt(limiter, principal), Taken)
    assert isinstance(await attempt(limiter, principal), ConcurrencyLimited)


async def test_a_later_refusal_gives_images_and_slot_back_but_not_the_request(limiter: Limiter) -> None:
    principal = caller(key(requests=10, images=4, concurrent=1))
    taken = await limiter.take(one(principal, 4), LEASE_S)

    await limiter.give_back(taken, images=4)

    again = await limiter.take(one(principal, 4), LEASE_S)
    left = {level.kind: level.remaining for level in again.levels}
    assert left == {"requests": 8, "images": 0, "slots": 0}


async def test_a_normal_end_gives_only_the_slot_back(limiter: Limiter) -> None:
    principal = caller(key(images=4, concurrent=1))
    taken = await limiter.take(one(principal, 3), LEASE_S)

    await limiter.give_back(taken)

    again = await limiter.take(one(principal, 1), LEASE_S)
    assert {level.kind: level.remaining for level in again.levels} == {"images": 0, "slots": 0}


async def test_giving_back_more_than_there_is_does_not_raise_the_limit(limiter: Limiter) -> None:
    principal = caller(key(images=4))
    taken = await limiter.take(one(principal, 1), LEASE_S)

    for _ in range(5):
        await limiter.give_back(taken, images=1)

    assert isinstance(await attempt(limiter, principal, 4), Taken)
    assert isinstance(await attempt(limiter, principal, 1), RateLimited)


async def test_of_several_refusals_the_longest_is_told(limiter: Limiter) -> None:
    principal = caller(key(requests=60, images=2))
    await limiter.take(one(principal, 2), LEASE_S)

    refused = await attempt(limiter, principal, 2)

    assert isinstance(refused, RateLimited)
    assert refused.retry_after_s == 60
    assert [(level.kind, level.remaining) for level in refused.levels] == [("requests", 59), ("images", 0)]


async def test_the_largest_limit_is_counted_exactly(limiter: Limiter, clock: Clock) -> None:
    most = 2**31 - 1
    principal = caller(key(requests=most, images=most))

    first = await limiter.take(one(principal, most - 1), LEASE_S)
    second = await limiter.take(one(principal, 1), LEASE_S)

    assert [level.remaining for level in first.levels] == [most - 1, 1]
    assert [level.remaining for level in second.levels] == [most - 2, 0]
    clock.now += 60
    assert isinstance(await attempt(limiter, principal, most), Taken)


async def test_a_lowered_limit_is_free_again_within_a_minute(limiter: Limiter, clock: Clock) -> None:
    principal = caller(key(requests=1000))
    for _ in range(200):
        await limiter.take(one(principal), LEASE_S)
    lowered = replace(principal, limits=(key(requests=3),))

    refused = await attempt(limiter, lowered)

    assert isinstance(refused, RateLimited)
    assert refused.retry_after_s == 20
    clock.now += 60
    assert [isinstance(await attempt(limiter, lowered), Taken) for _ in range(4)] == [True] * 3 + [False]


async def test_a_dry_run_counts_as_a_request_alone() -> None:
    wants = wants_of(caller(key(5, 5, 5), account(9, 9, 9)), 0, slot=False)

    assert [(want.kind, want.limit) for want in wants] == [("requests", 9), ("requests", 5)]
