"""Callers without a key: a picture that its caller left is given to the next equal request, each one once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import keys as admin_keys
from imagegate.identity import keys
from imagegate.identity.audit import Actor
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, Wait

PATH = "/v1/images/generations"
BODY = {"prompt": "a red fox", "model": "dall-e-2", "size": "256x256"}
COST = 5_000


@asynccontextmanager
async def impatient(account: Account, base_url: str) -> AsyncIterator[AsyncClient]:
    """A client of its own: its connection closes when it leaves."""
    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as http:
        yield http


async def leave_while_it_is_made(
    account: Account, base_url: str, fake: FakeProvider, engine: AsyncEngine
) -> asyncio.Event:
    """Ask and go away once the provider has the request. The provider answers when the event is set."""
    gate, before = asyncio.Event(), len(fake.requests)
    fake.then(Wait(gate))
    async with impatient(account, base_url) as http:
        asking = asyncio.create_task(http.post(PATH, json=BODY))
        await fake.arrived(before + 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await until(engine, account, "abandoned_at IS NOT NULL", 1)
    return gate


async def until(engine: AsyncEngine, account: Account, condition: str, rows: int) -> None:
    query = text(f"SELECT count(*) FROM generations WHERE account_id = :id AND {condition}")
    async with asyncio.timeout(10), engine.connect() as connection:
        while (await connection.execute(query, {"id": account.id})).scalar_one() < rows:
            await asyncio.sleep(0.02)


def id_of(response: Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["metadata"]["id"])


async def test_a_running_picture_is_adopted(
    client: AsyncClient, account: Account, base_url: str, engine: AsyncEngine, fake: FakeProvider
) -> None:
    gate = await leave_while_it_is_made(account, base_url, fake, engine)

    second = asyncio.create_task(client.post(PATH, json=BODY))
    await until(engine, account, "claims = 1", 1)
    gate.set()

    assert (await second).headers["idempotent-replayed"] == "true"
    assert (await second).json()["data"][0]["b64_json"]
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


async def test_a_finished_picture_is_adopted_once(
    client: AsyncClient, account: Account, base_url: str, engine: AsyncEngine, fake: FakeProvider
) -> None:
    gate = await leave_while_it_is_made(account, base_url, fake, engine)
    gate.set()
    await until(engine, account, "state = 'captured'", 1)

    adopted, fresh = await client.post(PATH, json=BODY), await client.post(PATH, json=BODY)

    assert id_of(adopted) != id_of(fresh)
    assert [r.headers.get("idempotent-replayed") for r in (adopted, fresh)] == ["true", None]
    assert (len(fake.requests), await account.balance()) == (2, (LIVE_TOKENS - 2 * COST, 0))


async def test_a_picture_that_is_left_can_be_fetched(
    client: AsyncClient, account: Account, base_url: str, engine: AsyncEngine, fake: FakeProvider
) -> None:
    gate = await leave_while_it_is_made(account, base_url, fake, engine)
    listed = (await client.get(PATH)).json()["data"]
    gate.set()
    await until(engine, account, "state = 'captured'", 1)

    fetched = (await client.get(f"{PATH}/{listed[0]['id']}")).json()

    assert [one["status"] for one in (listed[0], fetched)] == ["in_progress", "completed"]
    assert (await client.get(fetched["data"][0]["url"])).status_code == 200


async def test_another_request_and_another_key_adopt_nothing(
    client: AsyncClient,
    services: Services,
    account: Account,
    base_url: str,
    engine: AsyncEngine,
    fake: FakeProvider,
) -> None:
    gate = await leave_while_it_is_made(account, base_url, fake, engine)
    gate.set()
    async with engine.begin() as tx:
        pepper = services.keyring.key_pepper
        key = await keys.create_key(tx, pepper, account.id, "live", keys.Labels(), None)

    other = await client.post(PATH, json={**BODY, "prompt": "a blue fox"})
    async with AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {key[1]}"}) as http:
        foreign = await http.post(PATH, json=BODY)

    assert len({id_of(other), id_of(foreign)}) == 2
    assert len(fake.requests) == 3
    await until(engine, account, "state = 'captured'", 3)


async def test_two_first_requests_never_meet(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    answers = await asyncio.gather(*(client.post(PATH, json=BODY) for _ in range(5)))

    assert len({id_of(answer) for answer in answers}) == 5
    assert (len(fake.requests), await account.balance()) == (5, (LIVE_TOKENS - 5 * COST, 0))


async def test_a_declared_retry_is_told_of_the_first_try(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    """Its caller may have vanished without closing, so nobody knows that it was left."""
    first = await client.post(PATH, json=BODY)

    retry = await client.post(PATH, json=BODY, headers={"x-stainless-retry-count": "1"})
    another = await client.post(PATH, json=BODY, headers={"x-stainless-retry-count": "1"})

    assert id_of(first) == id_of(retry) != id_of(another)
    assert (len(fake.requests), await account.balance()) == (2, (LIVE_TOKENS - 2 * COST, 0))


async def test_two_retries_at_once_get_two_pictures(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    firsts = await asyncio.gather(*(client.post(PATH, json=BODY) for _ in range(2)))

    retried = {"x-stainless-retry-count": "1"}
    retries = await asyncio.gather(*(client.post(PATH, json=BODY, headers=retried) for _ in range(2)))

    assert {id_of(answer) for answer in firsts} == {id_of(answer) for answer in retries}
    assert (len(fake.requests), await account.balance()) == (2, (LIVE_TOKENS - 2 * COST, 0))


async def test_a_failure_is_not_adopted(client: AsyncClient, account: Account, fake: FakeProvider) -> None:
    fake.then(Status(400, code="invalid_size", type="invalid_request_error"))
    first = await client.post(PATH, json=BODY)

    retry = await client.post(PATH, json=BODY, headers={"x-stainless-retry-count": "1"})

    assert [first.status_code, retry.status_code] == [400, 200]
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_an_adopted_picture_that_is_left_again_is_adopted_again(
    client: AsyncClient, account: Account, base_url: str, engine: AsyncEngine, fake: FakeProvider
) -> None:
    gate = await leave_while_it_is_made(account, base_url, fake, engine)
    async with impatient(account, base_url) as http:
        second = asyncio.create_task(http.post(PATH, json=BODY))
        await until(engine, account, "claims = 1", 1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
    await until(engine, account, "abandoned_at IS NOT NULL", 1)
    gate.set()

    third = await client.post(PATH, json=BODY)

    assert third.headers["idempotent-replayed"] == "true"
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


@pytest.mark.parametrize("value", ["-1", "x", "99999", ""])
async def test_a_retry_count_that_is_none_is_no_retry(
    client: AsyncClient, fake: FakeProvider, value: str
) -> None:
    first = await client.post(PATH, json=BODY)
    second = await client.post(PATH, json=BODY, headers={"x-stainless-retry-count": value})

    assert id_of(first) != id_of(second)


async def test_a_revoked_key_adopts_nothing(
    client: AsyncClient, account: Account, base_url: str, engine: AsyncEngine, fake: FakeProvider
) -> None:
    gate = await leave_while_it_is_made(account, base_url, fake, engine)
    gate.set()
    await until(engine, account, "state = 'captured'", 1)
    async with engine.begin() as tx:
        for key in await keys.list_keys(tx, account.id):
            await admin_keys.revoke_key(tx, str(key.id), Actor("tests", "a test"))

    response = await client.post(PATH, json=BODY)

    assert response.status_code == 401
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))
