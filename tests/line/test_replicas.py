"""Two gateways on one database, one Redis and one store: wherever a caller asks, it is one service and one wallet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import operators
from imagegate.db.base import open_engine, snapshot
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.generation import recovery
from imagegate.identity.audit import Actor
from imagegate.ledger.verify import verify
from imagegate.services import Services, open_services
from imagegate.settings import Settings
from imagegate.worker import working
from tests.conftest import LIVE_TOKENS, Account, listening, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Delay, Wait
from tests.identity.redis_server import RedisServer
from tests.line.test_jobs import until_over
from tests.line.test_limits import limit
from tests.line.test_polled import Serve, another_worker
from tests.line.test_polled import ask as ask_once
from tests.line.test_sweep import Silent

PATH = "/v1/images/generations"
BODY = {"prompt": "a red fox", "model": "dall-e-2", "size": "256x256"}
COST = 5_000
EQUAL = 50
CALLERS, ROOM = 200, 60
READING_S = 2.0
JOBS = 12

Clients = tuple[AsyncClient, AsyncClient]


@dataclass(frozen=True)
class Pair:
    """Two gateways; each has a pool, a journal, a lease and worker loops of its own. `engine`: the owner's."""

    one: Services
    other: Services
    urls: tuple[str, str]
    engine: AsyncEngine


@pytest.fixture(scope="module")
async def pair(settings: Settings, postgres: EmbeddedPostgres) -> AsyncIterator[Pair]:
    owner, app = postgres.create_database("replicas")
    await asyncio.to_thread(upgrade, owner, lambda line: None)
    changes: dict[str, object] = {
        "database_url": SecretStr(app),
        "data_dir": settings.data_dir.with_name("replicas"),
    }
    async with AsyncExitStack() as stack:
        redis = RedisServer()
        stack.callback(redis.close)
        redis.start()
        changes["redis_url"] = SecretStr(redis.url)
        engine = open_engine(owner, settings, statement_timeout_s=60)
        stack.push_async_callback(engine.dispose)
        opened, urls = [], []
        for _ in range(2):
            services = await stack.enter_async_context(open_services(settings.model_copy(update=changes)))
            await stack.enter_async_context(working(services))
            urls.append(await stack.enter_async_context(listening(services)))
            opened.append(services)
        yield Pair(opened[0], opened[1], (urls[0], urls[1]), engine)


@pytest.fixture
async def account(pair: Pair) -> AsyncIterator[Account]:
    """The ledger is proved after each test."""
    yield await open_account(pair.one, pair.engine)
    async with snapshot(pair.engine) as connection:
        report = await verify(connection)
    assert report.ok, report.violations


@asynccontextmanager
async def calling(pair: Pair, account: Account) -> AsyncIterator[Clients]:
    headers = {"authorization": f"Bearer {account.key}"}
    async with (
        AsyncClient(base_url=pair.urls[0], headers=headers, timeout=30) as one,
        AsyncClient(base_url=pair.urls[1], headers=headers, timeout=30) as other,
    ):
        yield one, other


@pytest.fixture
async def both(pair: Pair, account: Account) -> AsyncIterator[Clients]:
    """The customer's clients, one at each gateway."""
    async with calling(pair, account) as clients:
        yield clients


async def until(account: Account, condition: str) -> None:
    query = text(f"SELECT count(*) FROM generations WHERE account_id = :id AND {condition}")
    async with asyncio.timeout(10), account.engine.connect() as connection:
        while not (await connection.execute(query, {"id": account.id})).scalar_one():
            await asyncio.sleep(0.02)


async def ask(client: AsyncClient, body: dict[str, str], **headers: str) -> Response:
    """As clients do: whoever is told to come back, since the gateway is too busy, comes back."""
    async with asyncio.timeout(30):
        while True:
            response = await client.post(PATH, json=body, headers=headers)
            if response.status_code != 503:
                return response
            assert response.headers["x-should-retry"] == "true"


def told(response: Response) -> tuple[str, str]:
    """What equal requests are told alike: the id and the bytes."""
    assert response.status_code == 200, response.text
    body = response.json()
    return body["metadata"]["id"], body["data"][0]["b64_json"]


async def test_equal_requests_at_both_make_one_picture(
    both: Clients, account: Account, fake: FakeProvider
) -> None:
    """In the second round both have met the wallet."""
    fake.then(Delay(0.3), Delay(0.3))

    for number in (1, 2):
        headers = {"idempotency-key": f"order-{number}"}
        answers = await asyncio.gather(*(ask(both[i % 2], BODY, **headers) for i in range(EQUAL)))

        assert len({told(answer) for answer in answers}) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
        links = {answer.json()["data"][0]["url"] for answer in answers}
        fetched = [await client.get(link) for link in list(links)[:2] for client in both]
        assert {(r.status_code, r.content) for r in fetched} == {(200, fetched[0].content)}
        assert (len(fake.requests), await account.balance()) == (number, (LIVE_TOKENS - number * COST, 0))


async def test_a_hot_wallet_pays_for_what_it_has_and_no_more(
    pair: Pair, account: Account, fake: FakeProvider
) -> None:
    poor = await open_account(pair.one, pair.engine, ROOM * COST)
    async with calling(pair, poor) as both:
        bodies = [{**BODY, "prompt": f"fox {i}"} for i in range(CALLERS)]
        answers = await asyncio.gather(*(ask(both[i % 2], body) for i, body in enumerate(bodies)))

    statuses = [answer.status_code for answer in answers]
    codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200}
    assert (statuses.count(200), statuses.count(402), codes) == (ROOM, CALLERS - ROOM, {"insufficient_quota"})
    assert (
        len({told(answer)[0] for answer in answers if answer.status_code == 200})
        == len(fake.requests)
        == ROOM
    )
    assert await poor.balance() == (0, 0)


async def test_a_key_revoked_through_one_spends_nothing_at_the_other_and_soon_reads_nothing(
    both: Clients, account: Account, pair: Pair, fake: FakeProvider
) -> None:
    here, there = both
    pepper, actor = pair.one.keyring.key_pepper, Actor("cli:tests", "a test")
    async with pair.engine.begin() as tx:
        _, operator = await operators.create_operator(tx, pepper, account.name, ("keys:write",), None, actor)
    told(await there.post(PATH, json=BODY))
    key_id = await key_of(account)

    path, reason = f"/admin/v1/keys/{key_id}/revoke", {"reason": "leaked"}
    revoked = await here.post(path, json=reason, headers={"authorization": f"Bearer {operator}"})
    since = monotonic()
    spent = await asyncio.gather(*(there.post(PATH, json=BODY) for _ in range(5)))

    assert revoked.status_code == 200, revoked.text
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in spent} == {
        (401, "invalid_api_key")
    }
    while (await there.get(PATH)).status_code == 200:
        assert monotonic() - since < READING_S
        await asyncio.sleep(0.02)
    assert (await there.get(PATH)).status_code == 401
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


async def key_of(account: Account) -> str:
    query = text("SELECT id FROM api_keys WHERE account_id = :id AND env = 'live'")
    async with account.engine.connect() as connection:
        return f"key_{(await connection.execute(query, {'id': account.id})).scalar_one().hex}"


@pytest.mark.parametrize("finished", [False, True], ids=["running", "finished"])
async def test_a_picture_left_at_one_is_adopted_at_the_other(
    pair: Pair, both: Clients, account: Account, fake: FakeProvider, finished: bool
) -> None:
    gate = asyncio.Event()
    fake.then(Wait(gate))
    async with calling(pair, account) as (leaver, _):
        leaving = asyncio.create_task(leaver.post(PATH, json=BODY))
        await fake.arrived(1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    await until(account, "abandoned_at IS NOT NULL")
    if finished:
        gate.set()
        await until(account, "state = 'captured'")

    adopting = asyncio.create_task(both[1].post(PATH, json=BODY))
    await until(account, "claims = 1")
    gate.set()

    assert (await adopting).headers["idempotent-replayed"] == "true"
    adopted, fresh = told(await adopting), told(await both[0].post(PATH, json=BODY))
    assert adopted[0] != fresh[0]
    assert (len(fake.requests), await account.balance()) == (2, (LIVE_TOKENS - 2 * COST, 0))


async def test_a_retry_that_meets_the_other_one_is_told_of_the_first_try(
    both: Clients, account: Account, fake: FakeProvider
) -> None:
    first = await both[0].post(PATH, json=BODY)

    retry = await both[1].post(PATH, json=BODY, headers={"x-stainless-retry-count": "1"})

    assert told(first) == told(retry)
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


async def test_a_limit_is_one_limit_at_both(both: Clients, account: Account, fake: FakeProvider) -> None:
    await limit(account.engine, account, requests_per_min=10)

    answers = await asyncio.gather(*(both[i % 2].post(PATH, json=BODY) for i in range(24)))

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 14
    assert (len(fake.requests), await account.balance()) == (10, (LIVE_TOKENS - 10 * COST, 0))


async def test_jobs_accepted_at_both_are_each_made_once(
    both: Clients, account: Account, fake: FakeProvider
) -> None:
    bodies = [{**BODY, "prompt": f"job {i}"} for i in range(JOBS)]
    accepted = await asyncio.gather(
        *(both[i % 2].post(f"{PATH}/async", json=body) for i, body in enumerate(bodies))
    )

    names = [answer.json()["id"] for answer in accepted]
    told = await asyncio.gather(*(until_over(both[(i + 1) % 2], name) for i, name in enumerate(names)))

    assert {job["status"] for job in told} == {"completed"}
    assert (len(fake.requests), await account.balance()) == (JOBS, (LIVE_TOKENS - JOBS * COST, 0))


async def test_what_a_killed_one_held_is_given_back_by_the_other(
    pair: Pair, account: Account, serve: Serve
) -> None:
    silent = Silent()
    async with another_worker(pair.other, silent) as killed:
        asking = asyncio.create_task(ask_once(account, await serve(killed), "lost"))
        async with asyncio.timeout(10):
            while not silent.asked:
                await asyncio.sleep(0.01)
        held = await account.balance()
    await asking

    await recovery.sweep(pair.one, recovery.Deaths(0))

    assert (held, await account.balance()) == ((LIVE_TOKENS, COST), (LIVE_TOKENS, 0))
