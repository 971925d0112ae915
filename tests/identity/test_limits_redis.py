"""Redis that is away, slow, or back: limits go on, by each worker's share, and nobody waits for long."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from time import monotonic

import pytest
from redis.asyncio import Redis

from imagegate.errors import OperatorError
from imagegate.identity.limits import ConcurrencyLimited, Limiter, RateLimited, Taken
from imagegate.identity.limits_lane import Lane
from imagegate.identity.limits_local import LocalLimiter
from imagegate.identity.limits_redis import TIMEOUT_S, RedisLimiter, open_shared
from tests.identity.conftest import PATIENCE_S, Clock, three_workers
from tests.identity.redis_server import RedisServer
from tests.identity.wanting import account, caller, key, one

hasty = pytest.mark.parametrize("worker", [TIMEOUT_S], indirect=True)
"""For tests in which Redis is there and says nothing."""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(params=[PATIENCE_S])
async def worker(own_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[RedisLimiter]:
    """One of three workers, with its background, on a Redis that runs."""
    own_server.start()
    async with open_shared(own_server.url, three_workers, timeout_s=request.param) as limiter:
        await until(lambda: limiter.workers == 3)
        async with asyncio.timeout(10):
            await until_shared(limiter)
        yield limiter


async def until_shared(limiter: RedisLimiter) -> None:
    while not (await limiter.take(one(caller(key(requests=1))), 1)).shared:
        await asyncio.sleep(0.01)


async def entered(limiter: Limiter, tries: int, principal: object) -> int:
    """How many of so many requests got in."""
    ends = await asyncio.gather(
        *(limiter.take(one(principal), 60) for _ in range(tries)),  # type: ignore[arg-type]
        return_exceptions=True,
    )
    assert all(isinstance(end, Taken | RateLimited) for end in ends), ends
    return sum(isinstance(end, Taken) for end in ends)


async def test_two_workers_share_one_limit(redis_server: RedisServer) -> None:
    principal = caller(key(requests=100, concurrent=10))
    opening = partial(open_shared, redis_server.url, three_workers, timeout_s=PATIENCE_S)
    async with opening() as first, opening() as second:
        ends = await asyncio.gather(entered(first, 40, principal), entered(second, 40, principal))

    assert sum(ends) == 10


async def test_without_redis_each_worker_keeps_to_its_share(
    worker: RedisLimiter, own_server: RedisServer
) -> None:
    principal = caller(key(requests=30))
    own_server.stop()

    before = worker.fell_back
    assert await entered(worker, 30, principal) == 10
    assert worker.down
    assert worker.fell_back == before + 30


async def test_when_redis_is_back_limits_are_shared_again(
    worker: RedisLimiter, own_server: RedisServer
) -> None:
    principal = caller(key(requests=30))
    own_server.stop()
    taken = await worker.take(one(principal), 60)
    assert not taken.shared

    own_server.start()
    await until(lambda: not worker.down)

    fell_back = worker.fell_back
    assert await entered(worker, 31, principal) == 30
    assert worker.fell_back == fell_back
    await worker.give_back(taken)


@hasty
async def test_a_slow_redis_costs_one_short_wait_and_not_one_for_each_request(
    worker: RedisLimiter, own_server: RedisServer
) -> None:
    principal = caller(key(requests=3000))
    own_server.send(signal.SIGSTOP)
    try:
        started = monotonic()
        assert await entered(worker, 50, principal) == 50
        first_s, started = monotonic() - started, monotonic()
        for _ in range(50):
            await worker.take(one(principal), 60)
        rest_s = monotonic() - started
    finally:
        own_server.send(signal.SIGCONT)

    assert TIMEOUT_S <= first_s < 3 * TIMEOUT_S
    assert rest_s < TIMEOUT_S / 2
    await until(lambda: not worker.down)


@hasty
async def test_a_slot_given_back_while_redis_is_away_is_free_when_it_is_back(
    worker: RedisLimiter, own_server: RedisServer
) -> None:
    principal = caller(account(concurrent=1))
    taken = await worker.take(one(principal), 600)
    own_server.send(signal.SIGSTOP)
    try:
        await worker.give_back(taken)
        assert worker.down
    finally:
        own_server.send(signal.SIGCONT)

    await until(lambda: not worker.down)

    assert (await worker.take(one(principal), 600)).shared


async def test_a_caller_that_left_while_redis_was_slow_keeps_no_slot(
    worker: RedisLimiter, own_server: RedisServer
) -> None:
    principal = caller(account(concurrent=1))
    own_server.send(signal.SIGSTOP)
    try:
        taking = asyncio.create_task(worker.take(one(principal), 600))
        await asyncio.sleep(0.05)
        taking.cancel()
        await asyncio.wait({taking})
        assert taking.cancelled()
    finally:
        own_server.send(signal.SIGCONT)

    async with asyncio.timeout(10):
        while True:
            try:
                assert (await worker.take(one(principal), 600)).shared
                break
            except ConcurrencyLimited:
                await asyncio.sleep(0.01)


async def test_a_share_is_at_least_one_and_a_big_request_is_not_refused_for_ever() -> None:
    clock = Clock()
    worker = RedisLimiter(Lane(Redis()), three_workers, TIMEOUT_S, clock)
    worker.down, worker.workers = True, 8
    small, big = caller(key(requests=2)), caller(key(images=16))

    assert await entered(worker, 5, small) == 1
    assert isinstance(await worker.take(one(big, 10), 60), Taken)
    with pytest.raises(RateLimited) as refused:
        await worker.take(one(big, 10), 60)
    assert refused.value.should_retry
    clock.now += 300
    assert isinstance(await worker.take(one(big, 10), 60), Taken)


async def test_an_unlimited_caller_does_not_touch_redis() -> None:
    async with open_shared("redis://127.0.0.1:1/0", three_workers) as limiter:
        assert (await limiter.take((), 60)).levels == ()
        assert limiter.fell_back == 0


async def test_a_redis_that_is_away_at_the_start_is_no_reason_not_to_start() -> None:
    async with open_shared("redis://127.0.0.1:1/0", three_workers) as limiter:
        await until(lambda: limiter.workers == 3)
        assert await entered(limiter, 20, caller(key(requests=30))) == 10


async def test_what_is_no_redis_url_is_refused_at_the_start() -> None:
    with pytest.raises(OperatorError, match="IMAGEGATE_REDIS_URL"):
        async with open_shared("http://localhost:6379", three_workers):
            pass


async def test_nothing_stays_in_redis_for_a_minute_longer_than_it_counts(redis_server: RedisServer) -> None:
    wants = one(caller(key(requests=1000, images=6000, concurrent=5)), 2)
    async with open_shared(redis_server.url, three_workers, timeout_s=PATIENCE_S) as worker:
        await worker.take(wants, 0.05)

    async with Redis.from_url(redis_server.url) as redis:
        lives_ms = [await redis.pttl(want.bucket) for want in wants]
    assert all(0 < ms <= 60_060 for ms in lives_ms), lives_ms


async def test_memory_of_the_process_follows_the_callers_of_the_last_minute() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock)
    for _ in range(500):
        await limiter.take(one(caller(key(requests=5, concurrent=5))), 30)
    assert len(limiter) == 1000

    clock.now += 61
    await limiter.take(one(caller(key(requests=5))), 30)

    assert len(limiter) == 1
