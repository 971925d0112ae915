"""An Idempotency-Key: one generation, however often and wherever it is asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.catalogue import prices
from imagegate.ledger import wallets
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Delay, Status, Wait

PATH = "/v1/images/generations"
BODY = {"prompt": "a red fox", "model": "dall-e-2", "size": "256x256"}
COST = 5_000


async def ask(client: AsyncClient, key: str, **more: object) -> Response:
    return await client.post(PATH, json={**BODY, **more}, headers={"idempotency-key": key})


def told(response: Response) -> tuple[object, ...]:
    """What two answers to one request must have in common: id, links' objects and bytes."""
    body = response.json()
    images = [(i["url"].partition("?")[0].rpartition("/")[2][:40], i["b64_json"]) for i in body["data"]]
    return body["metadata"]["id"], body["created"], body["size"], str([b for _, b in images])


async def test_the_second_request_is_told_what_came_of_the_first(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    first, second = await ask(client, "order-1"), await ask(client, "order-1")

    assert [first.status_code, second.status_code] == [200, 200]
    assert told(first) == told(second)
    assert [r.headers.get("idempotent-replayed") for r in (first, second)] == [None, "true"]
    assert second.json()["metadata"]["charged_tokens"] == COST
    linked = await client.get(second.json()["data"][0]["url"])
    assert linked.status_code == 200
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


async def test_twins_that_arrive_together_make_one_picture(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    fake.then(Delay(0.2))

    answers = await asyncio.gather(*(ask(client, "twins") for _ in range(10)))

    assert {a.status_code for a in answers} == {200}
    assert len({told(a) for a in answers}) == 1
    assert sum(a.headers.get("idempotent-replayed") == "true" for a in answers) == 9
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


async def test_a_key_with_another_request_is_refused(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    await ask(client, "reused")

    other = await ask(client, "reused", prompt="a blue fox")

    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert other.headers["x-should-retry"] == "false"
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 129, "a/b"])
async def test_a_key_that_is_none_is_refused(
    client: AsyncClient, account: Account, fake: FakeProvider, key: str
) -> None:
    response = await client.post(PATH, json=BODY, headers={"idempotency-key": key.encode()})

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_idempotency_key")
    assert (fake.requests, await account.balance()) == ([], (LIVE_TOKENS, 0))


async def test_a_twin_does_not_wait_for_ever(
    services: Services,
    account: Account,
    client: AsyncClient,
    fake: FakeProvider,
    serve: Callable[[Services], Awaitable[str]],
) -> None:
    impatient = replace(services, settings=services.settings.model_copy(update={"deadline_s": 0.3}))
    gate = asyncio.Event()
    fake.then(Wait(gate))
    first = asyncio.create_task(ask(client, "slow"))
    await fake.arrived(1)

    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=await serve(impatient), headers=headers, timeout=30) as other:
        second = await ask(other, "slow")
    gate.set()

    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_in_progress")
    assert (second.headers["retry-after"], second.headers["x-should-retry"]) == ("5", "true")
    assert (await first).status_code == 200
    assert told(await ask(client, "slow")) == told(await first)
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


async def test_a_final_error_is_remembered(client: AsyncClient, account: Account, fake: FakeProvider) -> None:
    fake.then(Status(400, code="invalid_size", type="invalid_request_error"))

    first, second = await ask(client, "broken"), await ask(client, "broken")

    assert first.status_code == second.status_code == 400
    for field in ("type", "code"):
        assert first.json()["error"][field] == second.json()["error"][field]
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS, 0))


async def test_what_nobody_can_have_billed_runs_again_under_the_same_id(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    fake.then(Status(401, code="invalid_api_key"))
    first = await ask(client, "again")
    asked = len(fake.requests)

    second, third = await ask(client, "again"), await ask(client, "again")

    assert (first.status_code, second.status_code, third.status_code) == (502, 200, 200)
    assert told(second) == told(third)
    assert second.json()["metadata"]["id"] in first.json()["error"]["message"]
    assert len(fake.requests) == asked + 1
    assert await account.balance() == (LIVE_TOKENS - COST, 0)
    async with engine.connect() as connection:
        row = (await connection.execute(STORED, {"key": "again", "account_id": account.id})).one()
    assert (row.state, row.epoch, row.answer_code) == ("captured", 2, None)


STORED = text("SELECT * FROM generations WHERE account_id = :account_id AND idempotency_key = :key")


async def test_after_three_epochs_the_error_is_final(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    fake.default = Status(401, code="invalid_api_key")

    answers = [await ask(client, "never") for _ in range(5)]

    assert {a.status_code for a in answers} == {502}
    assert len(fake.requests) == 3
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_the_price_of_the_first_run_is_pinned(
    client: AsyncClient, account: Account, services: Services, fake: FakeProvider
) -> None:
    fake.then(Status(401, code="invalid_api_key"))
    await ask(client, "pinned", model="dall-e-3", size="1024x1024", quality="standard")
    before = services.prices.current["openai/dall-e-3"]
    async with services.engine.begin() as tx:
        await prices.set_price(tx, "openai/dall-e-3", None, None, 77_777, "dearer", "tests")
    while services.prices.current["openai/dall-e-3"].version == before.version:
        await asyncio.sleep(0.05)

    try:
        again = await ask(client, "pinned", model="dall-e-3", size="1024x1024", quality="standard")
    finally:
        async with services.engine.begin() as tx:
            await prices.bump_version(tx, "prices")
            note = prices.Note(reason="as it was", actor="tests")
            await prices.append(tx, {"openai/dall-e-3": before.terms}, note)

    assert (again.status_code, again.json()["metadata"]["charged_tokens"]) == (200, 40_000)
    assert again.json()["metadata"]["price_version"] == before.version


async def test_a_key_is_free_again_after_a_day(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    first = await ask(client, "daily")
    async with engine.begin() as tx:
        query = text(
            "UPDATE generations SET created_at = created_at - interval '25 hours' WHERE account_id = :id"
        )
        await tx.execute(query, {"id": account.id})

    second, third = await ask(client, "daily"), await ask(client, "daily")

    assert told(second) == told(third) != told(first)
    assert (len(fake.requests), await account.balance()) == (2, (LIVE_TOKENS - 2 * COST, 0))


async def test_what_was_refused_before_the_hold_is_not_remembered(
    services: Services, engine: AsyncEngine, base_url: str, fake: FakeProvider
) -> None:
    poor = await open_account(services, engine, live_tokens=1)
    headers = {"authorization": f"Bearer {poor.key}"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
        first = await ask(client, "poor")
        async with engine.begin() as tx:
            funding = wallets.Funding()
            await wallets.top_up(tx, poor.id, "live", COST, reason="r", actor="a", funding=funding)
        second = await ask(client, "poor")

    assert [first.status_code, second.status_code] == [402, 200]
    assert await poor.balance() == (1, 0)


async def test_the_same_key_of_another_account_is_another_key(
    services: Services, engine: AsyncEngine, base_url: str, client: AsyncClient, fake: FakeProvider
) -> None:
    other = await open_account(services, engine)
    headers = {"authorization": f"Bearer {other.key}"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as foreign:
        first, second = await ask(client, "common"), await ask(foreign, "common")

    assert [first.status_code, second.status_code] == [200, 200]
    assert told(first) != told(second)
    assert len(fake.requests) == 2


async def test_images_that_have_expired_are_not_made_again(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    await ask(client, "old")
    async with engine.begin() as tx:
        query = text("UPDATE images SET expires_at = now() - interval '1 second' WHERE account_id = :id")
        await tx.execute(query, {"id": account.id})

    second = await ask(client, "old")

    assert (second.status_code, second.json()["error"]["code"]) == (410, "result_gone")
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))
