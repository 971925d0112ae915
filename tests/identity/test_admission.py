"""Limits as they arrive with a key, and what a request takes of them on its way in and out."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.domain import GenerationRequest, Plan, Principal, RateLimits
from imagegate.errors import ContentRejected, InsufficientFunds, Overloaded
from imagegate.generation import admission, pipeline
from imagegate.identity.keys import KeyCache
from imagegate.identity.limits import NOTHING, ConcurrencyLimited, RateLimited
from imagegate.identity.limits_local import LocalLimiter
from imagegate.identity.tables import limits
from imagegate.load import Load
from imagegate.moderation.blocklist import Blocklist
from imagegate.moderation.panel import Panel
from imagegate.services import Services
from tests.conftest import Account

REQUEST = GenerationRequest(prompt="a lighthouse", model="sandbox", n=2)
Limit = Callable[..., Awaitable[Principal]]


@pytest.fixture
def gateway(services: Services) -> Services:
    """With limits counted for this test alone, and a word that is not allowed."""
    return replace(services, limiter=LocalLimiter(), moderation=Panel(Blocklist(["forbidden"])))


@pytest.fixture
def limit(services: Services, engine: AsyncEngine, account: Account) -> Limit:
    """Writes limits of the account or its live key and finds the key anew."""

    async def write(scope: str, env: str = "live", key_id: UUID | None = None, **values: int) -> Principal:
        found = await fresh(services).find(account.key)
        scope_id = "" if scope == "account" else str(key_id or found.key_id)
        row = {"account_id": account.id, "env": env, "scope": scope, "scope_id": scope_id, **values}
        async with engine.begin() as tx:
            await tx.execute(insert(limits), row)
        return await fresh(services).find(account.key)

    return write


def fresh(services: Services) -> KeyCache:
    return KeyCache(services.engine, services.keyring)


def planned(services: Services, principal: Principal, request: GenerationRequest = REQUEST) -> Plan:
    return pipeline.estimate(services, principal, request)


async def left(gateway: Services, principal: Principal) -> dict[str, int]:
    """What is left of each kind, after one more dry run."""
    wants = admission.wants_of(principal, 1)
    taken = await gateway.limiter.take(wants, 1)
    await gateway.limiter.give_back(taken, images=1)
    return {level.kind: level.remaining for level in taken.levels}


async def test_a_key_without_limits_brings_none(services: Services, account: Account) -> None:
    assert (await fresh(services).find(account.key)).limits == ()


async def test_limits_of_account_and_key_arrive_with_the_key(limit: Limit) -> None:
    await limit("account", requests_per_min=10, concurrent=3)
    principal = await limit("key", images_per_min=0)

    assert principal.limits == (RateLimits("account", 10, None, 3), RateLimits("key", None, 0, None))


async def test_limits_of_another_key_of_the_other_environment_and_of_money_are_not_this_key_s(
    limit: Limit,
) -> None:
    await limit("key", key_id=uuid4(), requests_per_min=1)
    await limit("account", env="test", requests_per_min=1)
    principal = await limit("account", day_tokens=5)

    assert principal.limits == ()


async def test_a_request_takes_its_images_and_a_slot_and_leaves_the_slot(
    gateway: Services, limit: Limit
) -> None:
    principal = await limit("key", requests_per_min=10, images_per_min=10, concurrent=1)
    plan = planned(gateway, principal)

    entered = await admission.enter(gateway, principal, REQUEST, plan)
    with pytest.raises(ConcurrencyLimited):
        await admission.enter(gateway, principal, REQUEST, plan)
    async with admission.inside(gateway, entered):
        pass

    assert [level.remaining for level in entered.taken.levels] == [9, 8, 0]
    assert await left(gateway, principal) == {"requests": 8, "images": 7, "slots": 0}


async def test_a_refusal_by_moderation_costs_only_the_request(gateway: Services, limit: Limit) -> None:
    principal = await limit("key", requests_per_min=10, images_per_min=10, concurrent=1)
    bad = replace(REQUEST, prompt="a forbidden thing")

    with pytest.raises(ContentRejected):
        await admission.enter(gateway, principal, bad, planned(gateway, principal, bad))

    assert await left(gateway, principal) == {"requests": 8, "images": 9, "slots": 0}


@pytest.mark.parametrize(
    ("error", "images"), [(InsufficientFunds(2, 1), 9), (Overloaded("full"), 9), (RuntimeError("a bug"), 7)]
)
async def test_a_later_refusal_gives_the_images_back_and_a_failure_does_not(
    gateway: Services, limit: Limit, error: Exception, images: int
) -> None:
    principal = await limit("account", images_per_min=10, concurrent=1)
    entered = await admission.enter(gateway, principal, REQUEST, planned(gateway, principal))

    with pytest.raises(type(error)):
        async with admission.inside(gateway, entered):
            raise error

    assert await left(gateway, principal) == {"images": images, "slots": 0}


async def test_a_caller_without_limits_is_let_in_with_nothing(gateway: Services, account: Account) -> None:
    principal = await fresh(gateway).find(account.key)

    entered = await admission.enter(gateway, principal, REQUEST, planned(gateway, principal))

    assert entered.taken is NOTHING
    async with admission.inside(gateway, entered):
        pass


async def test_a_full_gateway_takes_nothing_of_the_limits(gateway: Services, limit: Limit) -> None:
    principal = await limit("key", requests_per_min=2)
    full = Load(gateway.settings.model_copy(update={"max_in_flight": 0}))

    with pytest.raises(Overloaded):
        await admission.enter(replace(gateway, load=full), principal, REQUEST, planned(gateway, principal))

    assert await left(gateway, principal) == {"requests": 1}


async def test_a_dry_run_counts_as_a_request(gateway: Services, limit: Limit) -> None:
    principal = await limit("key", requests_per_min=2, images_per_min=0, concurrent=0)

    assert [
        (level.kind, level.remaining) for level in (await admission.count(gateway, principal)).levels
    ] == [("requests", 1)]
    await admission.count(gateway, principal)
    with pytest.raises(RateLimited):
        await admission.count(gateway, principal)
