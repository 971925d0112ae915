"""Limits on a Redis Cluster: each account's on one server of it, all of them shared; a lost server costs no request."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from imagegate.errors import OperatorError
from imagegate.identity.limits_redis import RedisLimiter, open_client, open_shared
from tests.identity.conftest import PATIENCE_S, three_workers
from tests.identity.redis_cluster import RedisCluster
from tests.identity.test_limits_redis import entered, until_shared
from tests.identity.wanting import account, caller, key, one

ACCOUNTS = 12


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[RedisCluster]:
    """The last test that asks for it kills one of its servers."""
    made = RedisCluster()
    try:
        await asyncio.to_thread(made.join)
        yield made
    finally:
        made.close()


async def sharing(limiter: RedisLimiter) -> None:
    async with asyncio.timeout(10):
        await until_shared(limiter)


async def test_a_slot_given_back_in_a_cluster_is_free_again(cluster: RedisCluster) -> None:
    async with open_shared(cluster.url, three_workers, timeout_s=PATIENCE_S) as limiter:
        await sharing(limiter)
        for _ in range(ACCOUNTS):
            principal = caller(account(concurrent=1))
            for _ in range(2):
                taken = await limiter.take(one(principal), 600)
                assert taken.shared
                await limiter.give_back(taken)


async def test_two_workers_share_limits_wherever_they_lie_and_a_lost_server_costs_no_request(
    cluster: RedisCluster,
) -> None:
    callers = [caller(key(requests=100, concurrent=10)) for _ in range(ACCOUNTS)]
    opening = partial(open_shared, cluster.url, three_workers, timeout_s=PATIENCE_S)
    async with opening() as first, opening() as second:
        await asyncio.gather(sharing(first), sharing(second))
        before = first.fell_back + second.fell_back
        ends = await asyncio.gather(
            *(entered(worker, 20, principal) for worker in (first, second) for principal in callers)
        )

        assert [ends[n] + ends[ACCOUNTS + n] for n in range(ACCOUNTS)] == [10] * ACCOUNTS
        assert first.fell_back + second.fell_back == before

        cluster.kill(1)
        alone = [caller(key(requests=30)) for _ in range(ACCOUNTS)]
        passed = await asyncio.gather(*(entered(first, 1, principal) for principal in alone))

    assert passed == [1] * ACCOUNTS


async def test_a_cluster_that_is_away_at_the_start_is_no_reason_not_to_start() -> None:
    async with open_shared("redis+cluster://127.0.0.1:1", three_workers) as limiter:
        assert await entered(limiter, 5, caller(key(requests=30))) == 5


def test_what_is_no_url_of_a_cluster_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"redis\+cluster://"):
        open_client("http+cluster://127.0.0.1:1", 1)
