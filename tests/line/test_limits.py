"""Limits of requests, images and concurrent generations, through the public door."""

import asyncio

from httpx import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import limits
from imagegate.identity.audit import Actor
from imagegate.identity.limit_rows import Scope
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, Wait

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox in a queue", "model": "dall-e-2", "size": "256x256"}
COST = 5_000


async def limit(engine: AsyncEngine, account: Account, **values: int) -> None:
    """Set before the key is used for the first time, so that no process remembers it without."""
    async with engine.begin() as tx:
        await limits.set_limits(
            tx, account.name, "live", Scope("account", ""), values, Actor("tests", "a test")
        )


def code(response: Response) -> str | None:
    return response.json()["error"]["code"] if response.status_code != 200 else None


async def test_requests_per_minute(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    await limit(engine, account, requests_per_min=2)

    answers = [await client.post(PATH, json=BODY) for _ in range(3)]

    assert [a.status_code for a in answers] == [200, 200, 429]
    assert code(answers[2]) == "rate_limit_exceeded"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60
    assert answers[2].headers["x-should-retry"] == "true"
    assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["1", "0", "0"]
    assert {a.headers["x-ratelimit-limit-requests"] for a in answers} == {"2"}
    assert "q=2;w=60" in answers[0].headers["ratelimit-policy"]
    assert (len(fake.requests), await account.balance()) == (2, (LIVE_TOKENS - 2 * COST, 0))


async def test_images_count_one_by_one_and_come_back_when_none_was_asked_for(
    client: AsyncClient, account: Account, engine: AsyncEngine, services: Services, fake: FakeProvider
) -> None:
    await limit(engine, account, images_per_min=4)

    refused = await client.post(PATH, json={**BODY, "n": 5})
    first = await client.post(PATH, json={**BODY, "n": 3})
    fake.then(Status(400, code="invalid_size", type="invalid_request_error"))
    invalid = await client.post(PATH, json=BODY)
    second = await client.post(PATH, json=BODY)
    third = await client.post(PATH, json=BODY)

    assert [r.status_code for r in (refused, first, invalid, second, third)] == [429, 200, 400, 200, 429]
    assert "Ask for fewer" in refused.json()["error"]["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert first.headers["x-ratelimit-remaining-images"] == "1"


async def test_concurrent_generations(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    await limit(engine, account, concurrent=1)
    gate = asyncio.Event()
    fake.then(Wait(gate))
    first = asyncio.create_task(client.post(PATH, json=BODY))
    await fake.arrived(1)

    second = await client.post(PATH, json=BODY)
    gate.set()
    assert (await first).status_code == 200
    third = await client.post(PATH, json=BODY)

    assert (second.status_code, code(second)) == (429, "concurrency_limit_exceeded")
    assert third.status_code == 200
    assert await account.balance() == (LIVE_TOKENS - 2 * COST, 0)


async def test_an_empty_wallet_costs_no_image_of_the_limit(
    services: Services, engine: AsyncEngine, base_url: str, fake: FakeProvider
) -> None:
    poor = await open_account(services, engine, live_tokens=COST)
    await limit(engine, poor, images_per_min=2, concurrent=1)
    headers = {"authorization": f"Bearer {poor.key}"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
        answers = [await client.post(PATH, json={**BODY, "n": n}) for n in (2, 2, 2, 1)]

    assert [a.status_code for a in answers] == [402, 402, 402, 200]
    assert answers[0].headers["x-ratelimit-limit-images"] == "2"


async def test_a_replay_costs_no_limit(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    await limit(engine, account, requests_per_min=1)
    headers = {"idempotency-key": "once"}

    answers = [await client.post(PATH, json=BODY, headers=headers) for _ in range(4)]

    assert [a.status_code for a in answers] == [200] * 4
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


async def test_without_limits_there_are_no_headers_of_limits(client: AsyncClient, fake: FakeProvider) -> None:
    response = await client.post(PATH, json=BODY)

    assert not [name for name in response.headers if "ratelimit" in name]
