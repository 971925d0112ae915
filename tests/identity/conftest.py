"""Both limiters, on clocks that the test moves, and a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from imagegate.identity.limits import Limiter
from imagegate.identity.limits_local import LocalLimiter
from imagegate.identity.limits_redis import RedisLimiter, open_shared
from tests.identity.redis_server import RedisServer

PATIENCE_S = 20.0
"""Where Redis is there, a busy machine is no reason to fall back."""


@dataclass
class Clock:
    """Seconds. `now += 1` moves it."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def three_workers() -> int:
    return 3


async def until_it_answers(redis: Redis) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await redis.ping()
                return
            except Exception:
                await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
async def redis_server() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    try:
        server.start()
        async with Redis.from_url(server.url) as redis:
            await until_it_answers(redis)
        yield server
    finally:
        server.close()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """Not yet started; for tests that stop it."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["local", "redis"])
async def limiter(
    request: pytest.FixtureRequest, redis_server: RedisServer, clock: Clock
) -> AsyncIterator[Limiter]:
    """Each test runs on both."""
    if request.param == "local":
        yield LocalLimiter(clock)
        return
    async with open_shared(redis_server.url, three_workers, timeout_s=PATIENCE_S, clock=clock) as shared:
        yield shared
        assert shared.fell_back == 0


@pytest.fixture(scope="session")
async def told_time(redis_server: RedisServer) -> AsyncIterator[tuple[RedisLimiter, Clock]]:
    """One for many histories, with the clock it goes by."""
    clock = Clock()
    async with open_shared(redis_server.url, three_workers, timeout_s=PATIENCE_S, clock=clock) as shared:
        yield shared, clock
