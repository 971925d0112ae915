"""Redis goes away, hangs and forgets everything under callers: they are drawn for, and nothing of a limit sticks."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from time import monotonic

import pytest
from httpx import AsyncClient, Response
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.identity.limits_redis import RedisLimiter, open_shared
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, listening
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Wait
from tests.faults.proofs import PATH, nothing_is_amiss
from tests.identity.redis_server import RedisServer
from tests.line.test_limits import limit

BODY = {"prompt": "a fox", "model": "dall-e-2", "size": "256x256"}
COST, AT_ONCE = 5_000, 4


@dataclass(frozen=True)
class Shared:
    """A gateway whose limits are Redis's, and an account that may have `AT_ONCE` generations at once."""

    redis: RedisServer
    limiter: RedisLimiter
    url: str
    account: Account

    async def ask(self, callers: int = 1) -> list[Response]:
        headers = {"x-api-key": self.account.key}
        async with AsyncClient(base_url=self.url, headers=headers, timeout=30) as http:
            return list(await asyncio.gather(*(http.post(PATH, json=BODY) for _ in range(callers))))


async def alone() -> int:
    return 1


async def until_shared(shared: Shared, yes: bool = True) -> None:
    async with asyncio.timeout(15):
        while shared.limiter.down is yes:
            await asyncio.sleep(0.02)


@pytest.fixture
async def shared(
    services: Services, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> AsyncIterator[Shared]:
    """One image was made."""
    await limit(engine, account, concurrent=AT_ONCE)
    redis = RedisServer()
    redis.start()
    try:
        async with open_shared(redis.url, alone) as limiter:
            gateway = replace(services, limiter=limiter)
            async with listening(gateway) as url:
                made = Shared(redis, limiter, url, account)
                await made.ask()
                await until_shared(made)
                yield made
    finally:
        redis.close()


def drawn(answers: list[Response]) -> list[Response]:
    assert {answer.status_code for answer in answers} == {200}, [answer.text[:200] for answer in answers]
    return answers


@pytest.mark.parametrize("fault", ["down", "hung", "flushed"])
async def test_redis_that_fails_under_callers_stops_nobody_and_keeps_no_place(
    shared: Shared, fake: FakeProvider, fault: str
) -> None:
    """It fails while every place is taken, so that what is given back meets the fault."""
    gate = asyncio.Event()
    fake.then(*(Wait(gate) for _ in range(AT_ONCE)))
    asking = asyncio.create_task(shared.ask(AT_ONCE))
    await fake.arrived(1 + AT_ONCE)

    if fault == "down":
        shared.redis.stop()
    elif fault == "hung":
        shared.redis.send(signal.SIGSTOP)
    else:
        async with Redis.from_url(shared.redis.url) as redis:
            await redis.flushall()
    gate.set()
    held = drawn(await asking)
    since = monotonic()
    during = drawn(await shared.ask())
    waited_s = monotonic() - since
    if fault == "down":
        shared.redis.start()
    elif fault == "hung":
        shared.redis.send(signal.SIGCONT)
    await until_shared(shared)
    after = drawn(await shared.ask(AT_ONCE))

    assert waited_s < 5
    answers = [*held, *during, *after]
    assert await shared.account.balance() == (LIVE_TOKENS - (1 + len(answers)) * COST, 0)
    await nothing_is_amiss(shared.account.engine, shared.url, [shared.account], answers)
