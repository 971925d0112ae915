"""What Prometheus is told: answers by route, what is under way, and that the ledger holds together."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from imagegate.ids import new_id
from imagegate.ledger.gauges import Gauges, read_gauges
from imagegate.services import Services
from imagegate.telemetry import Reading, Telemetry
from imagegate.web.metrics import Metrics
from tests.conftest import Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Wait

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox", "model": "sandbox", "size": "64x64", "response_format": "url"}

Samples = dict[tuple[str, ...], float]


def samples(said: str) -> Samples:
    """(name, label values in the order of their names) → value."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(said)
        for sample in family.samples
    }


async def scrape(http: AsyncClient) -> Samples:
    answer = await http.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"][:25]) == (200, "text/plain; version=0.0.4")
    return samples(answer.text)


async def test_answers_are_counted_by_method_route_and_status(client: AsyncClient) -> None:
    before = await scrape(client)
    made = (await client.post(PATH, json=BODY)).json()
    await client.get(f"{PATH}/{made['metadata']['id']}")
    await client.get(made["data"][0]["url"])
    for nowhere in ("/a", "/b", "/c"):
        await client.get(nowhere)
    after = await scrape(client)

    new = {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name[0] == "imagegate_requests_total"
    }
    assert {name[1:]: int(count) for name, count in new.items() if count} == {
        ("POST", PATH, "200"): 1,
        ("GET", f"{PATH}/{{generation_id}}", "200"): 1,
        ("GET", "/media/{path}", "200"): 1,
        ("GET", "other", "404"): 3,
        ("GET", "/metrics", "200"): 1,
    }


async def test_paths_and_methods_that_callers_invent_make_no_new_series(client: AsyncClient) -> None:
    before = await scrape(client)
    for number in range(5):
        await client.request(f"INVENTED{number}", f"/v1/invented/{number}")
        await client.get(f"{PATH}/gen_{number:032x}")
    after = await scrape(client)

    assert {name[1:] for name in after.keys() - before.keys() if name[0] == "imagegate_requests_total"} <= {
        ("other", "other", "404"),
        ("GET", f"{PATH}/{{generation_id}}", "404"),
        ("GET", "/metrics", "200"),
    }


async def test_what_is_under_way_is_seen_while_it_is(
    services: Services, account: Account, fake: FakeProvider, serve: Callable[[Services], Awaitable[str]]
) -> None:
    """Two gateways, since each asks the database at most every few seconds."""
    gate = asyncio.Event()
    fake.default = Wait(gate)
    url, later = await serve(services), await serve(services)
    async with AsyncClient(base_url=url, headers={"x-api-key": account.key}, timeout=30) as http:
        body = BODY | {"model": "gpt-image-2", "size": "1024x1024"}
        running = asyncio.create_task(http.post(PATH, json=body))
        await fake.arrived(1)
        during = await scrape(http)
        gate.set()
        await running
        async with AsyncClient(base_url=later) as other:
            after = await scrape(other)

    assert during[("imagegate_generations_in_flight",)] == 1
    assert during[("imagegate_open_holds",)] >= 1
    assert during[("imagegate_oldest_open_hold_seconds",)] > 0
    assert (during[("imagegate_ledger_imbalances",)], during[("imagegate_database_up",)]) == (0, 1)
    assert after[("imagegate_generations_in_flight",)] == 0
    assert after[("imagegate_journal_waiting",)] == 0


async def test_a_wallet_that_holds_what_nobody_opened_is_an_imbalance(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection:
        before = await read_gauges(connection)
        await connection.execute(
            text("UPDATE wallets SET held_tokens = held_tokens + 1 WHERE account_id = :id AND env = 'live'"),
            {"id": account.id},
        )
        wrong = await read_gauges(connection)
        await connection.rollback()

    assert (before.imbalances, wrong.imbalances) == (0, 1)


async def test_a_hold_that_no_wallet_knows_is_an_imbalance_and_has_an_age(
    account: Account, engine: AsyncEngine
) -> None:
    made = text(
        """
        INSERT INTO generations (account_id, env, id, key_id, state, expires_at, hold_tokens, model, price_version,
            quote, request, created_at)
        SELECT account_id, env, :id, id, 'running', now(), 7, 'sandbox', 1, '{}', '{}', now() - interval '1 hour'
        FROM api_keys WHERE account_id = :account_id AND env = 'live'
        """
    )
    async with engine.connect() as connection:
        await connection.execute(made, {"id": new_id(), "account_id": account.id})
        seen = await read_gauges(connection)
        await connection.rollback()

    assert seen.imbalances == 1
    assert seen.open_holds >= 1
    assert 3600 <= seen.oldest_open_hold_s < 3700


async def test_a_job_that_waits_has_an_age_and_is_no_old_hold(
    account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    body = {"prompt": "a fox", "model": "sandbox", "size": "256x256", "async": True}
    queued = (await client.post("/v1/images/generations", json=body)).json()["id"]
    async with engine.begin() as tx:
        before = await read_gauges(tx)
        await tx.execute(
            text("UPDATE generations SET created_at = now() - interval '1 hour' WHERE account_id = :id"),
            {"id": account.id},
        )
        after = await read_gauges(tx)
    await client.post(f"/v1/images/generations/{queued}/cancel")

    assert before.jobs_waiting >= 1
    assert after.oldest_job_s >= 3600
    assert after.oldest_open_hold_s < 3600


async def test_without_a_database_the_rest_is_still_told(
    services: Services, serve: Callable[[Services], Awaitable[str]]
) -> None:
    nowhere = create_async_engine("postgresql+asyncpg://nobody@/none?host=/nowhere")
    async with AsyncClient(base_url=await serve(replace(services, engine=nowhere))) as http:
        seen = await scrape(http)
    await nowhere.dispose()

    assert seen[("imagegate_database_up",)] == 0
    assert ("imagegate_generations_in_flight",) in seen
    assert not {("imagegate_ledger_imbalances",), ("imagegate_oldest_open_hold_seconds",)} & seen.keys()


class CountingEngine:
    """An engine that counts who asks for a connection."""

    def __init__(self, inner: AsyncEngine) -> None:
        self._inner = inner
        self.asked = 0

    def connect(self) -> Any:
        self.asked += 1
        return self._inner.connect()


async def test_however_many_scrape_the_database_is_asked_once(
    services: Services, serve: Callable[[Services], Awaitable[str]]
) -> None:
    counting = CountingEngine(services.engine)
    url = await serve(replace(services, engine=counting))  # type: ignore[arg-type]
    async with AsyncClient(base_url=url) as http:
        await asyncio.gather(*(scrape(http) for _ in range(5)))

    assert counting.asked == 1


@pytest.mark.parametrize("fell_back", [None, 3])
def test_fallbacks_are_told_by_gateways_that_share_their_limits(fell_back: int | None) -> None:
    said = samples(Telemetry().render(Reading(in_flight=0, limiter_fallbacks=fell_back)).decode())

    assert said.get(("imagegate_limiter_fallbacks_total",)) == fell_back


def test_every_gauge_of_the_ledger_is_read() -> None:
    """A field that is added to one record and forgotten in the other would never be seen."""
    fields = {"imbalances", "open_holds", "oldest_open_hold_s", "jobs_waiting", "oldest_job_s"}

    assert set(Gauges.__dataclass_fields__) == fields
    assert {name.removeprefix("ledger_") for name in Reading.__dataclass_fields__} >= fields
    assert callable(Metrics(Telemetry()).answer)
