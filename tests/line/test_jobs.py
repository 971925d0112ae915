"""Async jobs: accepted at once with their hold, done by a worker, told by their id, cancelled while nobody began."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.generation import jobs
from imagegate.generation import lane as lanes
from imagegate.services import Services
from imagegate.worker import working
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, Wait
from tests.line.test_edits import MASK, PNG, data_url, drawn, is_red

PATH = "/v1/images/generations"
BODY = {"prompt": "a patient fox", "model": "dall-e-2", "size": "256x256"}
COST = 5_000


@pytest.fixture
async def lane(services: Services) -> AsyncIterator[None]:
    """The gateway's worker loops run."""
    async with working(services):
        yield


async def until_over(client: AsyncClient, name: str) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while (told := (await client.get(f"{PATH}/{name}")).json())["status"] in ("queued", "in_progress"):
            await asyncio.sleep(0.02)
    return dict(told)


async def state_of(engine: AsyncEngine, name: str) -> Any:
    async with engine.connect() as connection:
        query = text("SELECT * FROM generations WHERE id = CAST(:id AS uuid)")
        return (await connection.execute(query, {"id": name.removeprefix("gen_")})).one()


async def events_of(engine: AsyncEngine, account: Account) -> list[str]:
    async with engine.connect() as connection:
        query = text("SELECT type FROM webhook_outbox WHERE account_id = :id ORDER BY id")
        return list((await connection.execute(query, {"id": account.id})).scalars())


async def queue(client: AsyncClient, **changed: Any) -> str:
    response = await client.post(f"{PATH}/async", json=BODY | changed)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (f"{PATH}/async", {}, {}),
        ("/v1/async/images/generations", {}, {}),
        ("/openai/v1/images/generations/async/", {}, {}),
        (PATH, {"async": True}, {}),
        (PATH, {}, {"prefer": "respond-async, wait=10"}),
        (PATH, {}, {"Prefer": "handling=lenient; x=1, Respond-Async"}),
    ],
)
async def test_a_job_is_accepted_at_once_with_its_hold(
    client: AsyncClient,
    account: Account,
    fake: FakeProvider,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> None:
    response = await client.post(path, json=BODY | body, headers=headers)

    told = response.json()
    assert response.status_code == 202
    assert (told["object"], told["status"]) == ("image.generation", "queued")
    assert told["expires_at"] - told["created_at"] == 86_400
    assert response.headers["location"] == told["poll_url"] == f"{client.base_url}{PATH}/{told['id']}"
    assert int(response.headers["retry-after"]) > 0
    assert "no-store" in response.headers["cache-control"]
    assert await account.balance() == (LIVE_TOKENS, COST)
    assert fake.requests == []
    assert (await client.post(f"{PATH}/{told['id']}/cancel")).status_code == 200


async def test_a_worker_makes_its_images(
    client: AsyncClient, account: Account, fake: FakeProvider, lane: None
) -> None:
    name = await queue(client, n=2)

    done = await until_over(client, name)

    pictures = [await client.get(item["url"]) for item in done["data"]]
    assert (done["status"], done["charged_tokens"], len(done["data"])) == ("completed", 2 * COST, 2)
    assert [picture.headers["content-type"] for picture in pictures] == ["image/png"] * 2
    assert await account.balance() == (LIVE_TOKENS - 2 * COST, 0)


async def test_pictures_and_a_mask_wait_with_the_job(
    client: AsyncClient, account: Account, services: Services, lane: None
) -> None:
    form = {"prompt": "a boat", "model": "sandbox", "size": "256x256", "response_format": "b64_json"}
    accepted = await client.post("/v1/images/edits/async", data=form, files={"image": PNG, "mask": MASK})
    whole = {**form, "images": [data_url(PNG)], "mask": data_url(MASK)}
    at_once = (await client.post("/v1/images/edits", json=whole)).json()

    done = await until_over(client, accepted.json()["id"])

    image = await client.get(done["data"][0]["url"])
    assert image.content == base64.b64decode(at_once["data"][0]["b64_json"])
    assert is_red(drawn(at_once))
    assert await pictures_left(services, account, done["id"]) == []


async def pictures_left(services: Services, account: Account, name: str) -> list[str]:
    """What the store still has of the pictures that came with a job; it takes a moment after the job's end."""
    place = f"inputs/{account.id.hex}/live/{name.removeprefix('gen_')}/"
    async with asyncio.timeout(5):
        while left := await services.store.list(place):
            await asyncio.sleep(0.02)
    return left


async def test_who_cancels_in_time_pays_nothing(
    client: AsyncClient, account: Account, engine: AsyncEngine, services: Services
) -> None:
    name = await queue(client)

    first, again = [await client.post(f"{PATH}/{name}/cancel") for _ in range(2)]

    assert [first.status_code, again.status_code] == [200, 200]
    assert first.json()["status"] == again.json()["status"] == "cancelled"
    assert await account.balance() == (LIVE_TOKENS, 0)
    assert (await state_of(engine, name)).outcome == "final"
    assert await jobs_due(services, account) == []


async def jobs_due(services: Services, account: Account) -> list[Any]:
    async with services.engine.connect() as connection:
        rows = (await connection.execute(lanes.NEXT, {"rows": 100, "most": 100})).all()
    return [row for row in rows if row.account_id == account.id]


async def test_what_has_begun_or_ended_cannot_be_cancelled(
    client: AsyncClient, account: Account, fake: FakeProvider, lane: None
) -> None:
    gate = asyncio.Event()
    fake.then(Wait(gate))
    name = await queue(client)
    await fake.arrived(1)

    running = await client.post(f"{PATH}/{name}/cancel")
    gate.set()
    await until_over(client, name)
    ended = await client.post(f"{PATH}/{name}/cancel")

    assert [response.status_code for response in (running, ended)] == [409, 409]
    assert [r.json()["error"]["code"] for r in (running, ended)] == ["not_cancellable"] * 2
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_nobody_cancels_the_job_of_another(
    client: AsyncClient, test_client: AsyncClient, account: Account
) -> None:
    name = await queue(client)

    response = await test_client.post(f"{PATH}/{name}/cancel")

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert await account.balance() == (LIVE_TOKENS, COST)
    await client.post(f"{PATH}/{name}/cancel")


async def test_a_repeated_key_means_the_same_job(
    client: AsyncClient, account: Account, fake: FakeProvider, services: Services
) -> None:
    headers = {"idempotency-key": "one-job"}
    first = await client.post(f"{PATH}/async", json=BODY, headers=headers)
    second = await client.post(f"{PATH}/async", json=BODY, headers=headers)
    other = await client.post(f"{PATH}/async", json=BODY | {"prompt": "another"}, headers=headers)
    async with working(services):
        await until_over(client, first.json()["id"])
    third = await client.post(f"{PATH}/async", json=BODY, headers=headers)

    assert [r.status_code for r in (first, second, third)] == [202, 202, 202]
    assert first.json()["id"] == second.json()["id"] == third.json()["id"]
    assert second.headers["idempotent-replayed"] == third.headers["idempotent-replayed"] == "true"
    assert third.json()["status"] == "completed"
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert (await account.balance(), len(fake.requests)) == ((LIVE_TOKENS - COST, 0), 1)


@pytest.mark.parametrize(
    ("changed", "headers", "status", "code"),
    [
        ({"n": 10, "size": "1024x1024", "quality": "standard", "model": "dall-e-3"}, {}, 202, None),
        ({"stream": True}, {}, 400, "invalid_value"),
        ({"model": "openai:dall-e-2"}, {"x-provider-key": "sk-mine"}, 400, "byok_not_async"),
        ({"webhook_url": "http://example.com/hook"}, {}, 400, "webhook_url_not_allowed"),
        ({"webhook_url": "https://127.0.0.1/hook"}, {}, 400, "webhook_url_not_allowed"),
        ({"webhook_url": 7}, {}, 400, "invalid_type"),
        ({"model": "no-such-model"}, {}, 404, "model_not_found"),
        ({"async": "yes"}, {}, 400, "invalid_type"),
    ],
)
async def test_what_a_job_cannot_have_is_refused_before_anything_is_held(
    client: AsyncClient, account: Account, changed: Any, headers: Any, status: int, code: str | None
) -> None:
    response = await client.post(f"{PATH}/async", json=BODY | changed, headers=headers)

    assert response.status_code == status, response.text
    if code is None:
        await client.post(f"{PATH}/{response.json()['id']}/cancel")
    else:
        assert response.json()["error"]["code"] == code
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_more_jobs_than_may_wait_are_sent_away(
    account: Account, services: Services, serve: Callable[[Services], Awaitable[str]]
) -> None:
    settings = services.settings.model_copy(update={"jobs_waiting_max": 2})
    url = await serve(replace(services, settings=settings))
    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        accepted = [await queue(client) for _ in range(2)]
        third = await client.post(f"{PATH}/async", json=BODY)
        held = await account.balance()
        for name in accepted:
            await client.post(f"{PATH}/{name}/cancel")

    assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (third.headers["x-should-retry"], int(third.headers["retry-after"]) > 0) == ("true", True)
    assert held == (LIVE_TOKENS, 2 * COST)


async def test_an_empty_wallet_queues_nothing(client: AsyncClient, account: Account) -> None:
    responses: list[Response] = []
    for _ in range(3):
        body = BODY | {"model": "dall-e-3", "size": "1024x1024", "n": 10}
        responses.append(await client.post(f"{PATH}/async", json=body))

    statuses = [response.status_code for response in responses]
    held = (await account.balance())[1]
    for response in responses:
        if response.status_code == 202:
            await client.post(f"{PATH}/{response.json()['id']}/cancel")
    assert statuses == [202, 202, 402]
    assert (held, await account.balance()) == (800_000, (LIVE_TOKENS, 0))


async def test_a_webhook_for_an_answer_that_is_waited_for_is_reported(client: AsyncClient) -> None:
    body = BODY | {"webhook_url": "https://hooks.invalid/"}

    response = await client.post(PATH, json=body)
    strict = await client.post(PATH, json=body | {"strict": True})

    assert response.json()["metadata"]["parameters"]["webhook_url"]["treatment"] == "ignored"
    assert (strict.status_code, strict.json()["error"]["param"]) == (400, "webhook_url")


async def test_a_dry_run_of_a_job_holds_nothing(client: AsyncClient, account: Account) -> None:
    response = await client.post(f"{PATH}/async?dryRun=true", json=BODY)

    assert (response.status_code, response.json()["estimated"]) == (200, True)
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_busy_provider_is_asked_again_later(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider, lane: None
) -> None:
    fake.then(Status(429), Status(429))
    name = await queue(client, webhook_url="https://hooks.invalid/")

    done = await until_over(client, name)

    tried = [attempt["class"] for attempt in done["metadata"]["attempts"]]
    assert tried == ["REFUSED_UNBILLED", "REFUSED_UNBILLED", "DELIVERED"]
    assert await account.balance() == (LIVE_TOKENS - COST, 0)
    assert await events_of(engine, account) == ["image.generation.completed"]


async def test_a_refused_prompt_ends_the_job_and_costs_nothing(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider, lane: None
) -> None:
    body = {"prompt": "[[refuse]]", "model": "sandbox", "webhook_url": "https://hooks.invalid/"}
    name = await queue(client, **body)

    done = await until_over(client, name)

    assert (done["status"], done["error"]["code"]) == ("failed", "moderation_blocked")
    assert await account.balance() == (LIVE_TOKENS, 0)
    assert await events_of(engine, account) == ["image.generation.failed"]


async def test_a_job_whose_turn_does_not_come_expires(
    client: AsyncClient, account: Account, engine: AsyncEngine, services: Services
) -> None:
    name = await queue(client, webhook_url="https://hooks.invalid/")
    async with engine.begin() as tx:
        late = text("UPDATE generations SET expires_at = now() - interval '1 s' WHERE account_id = :id")
        await tx.execute(late, {"id": account.id})

    due = await jobs_due(services, account)
    dropped = await jobs.drop_expired(services)

    told = (await client.get(f"{PATH}/{name}")).json()
    assert (due, dropped) == ([], 1)
    assert (told["status"], told["error"]["code"]) == ("failed", "job_expired")
    assert await account.balance() == (LIVE_TOKENS, 0)
    assert await events_of(engine, account) == ["image.generation.failed"]


async def test_callers_who_wait_come_before_jobs(services: Services) -> None:
    settings = services.settings.model_copy(update={"job_concurrency": 4})
    alone, busy, crowded, closing = (
        replace(services, settings=settings, status=replace(services.status, running=set(range(n))))  # type: ignore[type-var]
        for n in (0, 3, 50, 0)
    )
    closing.status.draining = True

    free = [lanes.Lane().free(gateway) for gateway in (alone, busy, crowded, closing)]

    assert free == [4, 1, 1, 0]
