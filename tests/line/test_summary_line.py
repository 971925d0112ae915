"""One line in the log for each generation that ends, and its place in the counts; never a prompt, a key or a link."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from imagegate.generation import jobs, recovery
from imagegate.generation import lane as lanes
from imagegate.generation.recovery import Deaths
from imagegate.ids import public_id
from imagegate.services import Services
from imagegate.telemetry.counts import OUTCOMES
from tests.conftest import Account
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import Delay, Images, Refuse, Status
from tests.line.test_polled import Serve, SlowProvider, another_worker, ask

PATH = "/v1/images/generations"
CANARY = "canary-prompt-7f3a9d"
BODY = {"prompt": f"a fox with a {CANARY}", "model": "dall-e-2", "size": "256x256"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

Lines = list[dict[str, Any]]


@pytest.fixture
def logged() -> Iterator[Lines]:
    """Every event that is logged."""
    with capture_logs() as events:
        yield events  # type: ignore[misc]


def lines_of(logged: Lines) -> Lines:
    return [event for event in logged if event["event"] == "generation"]


async def counted(client: AsyncClient) -> dict[str, float]:
    said = (await client.get("/metrics")).text
    return {
        "/".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(said)
        for sample in family.samples
        if "_bucket" not in sample.name
    }


async def test_a_picture_that_was_made_has_one_line(
    client: AsyncClient, account: Account, fake: FakeProvider, logged: Lines
) -> None:
    fake.then(Delay(0.05))
    before = await counted(client)

    headers = {"traceparent": PARENT, "x-app-id": "shop", "x-request-id": "mine-1"}
    made = await client.post(PATH, json=BODY, headers=headers)
    after = await counted(client)

    (line,) = lines_of(logged)
    assert {**line, "key": "", "ms": 0, "upstream_ms": 0} == {
        "event": "generation",
        "log_level": "info",
        "outcome": "completed",
        "id": made.json()["metadata"]["id"],
        "account": public_id("acc", account.id),
        "env": "live",
        "key": "",
        "app": "shop",
        "model": "openai/dall-e-2",
        "provider": "openai",
        "status": 200,
        "images": 1,
        "charged_tokens": 5_000,
        "attempts": 1,
        "ms": 0,
        "upstream_ms": 0,
        "stream": False,
        "job": False,
        "replayed": False,
        "request_id": "mine-1",
        "trace_id": TRACE,
    }
    assert line["key"].startswith("key_")
    assert 50 <= line["upstream_ms"] <= line["ms"] < 10_000
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["imagegate_generations_total/completed"] == 1
    assert grown["imagegate_charged_tokens_total/live"] == 5_000
    assert grown["imagegate_images_total/openai"] == 1
    assert grown["imagegate_upstream_seconds_count/openai"] == 1
    assert 0.05 <= grown["imagegate_upstream_seconds_sum/openai"] < 10
    assert grown["imagegate_provider_cost_usd_total/openai"] > 0


@pytest.mark.parametrize(
    ("verb", "outcome", "status", "code"),
    [
        (Refuse(), "refused", 400, "moderation_blocked"),
        (Status(500), "failed", 502, "all_providers_failed"),
    ],
)
async def test_a_failure_says_what_its_caller_was_told(
    client: AsyncClient, fake: FakeProvider, logged: Lines, verb: Any, outcome: str, status: int, code: str
) -> None:
    fake.default = verb

    answer = await client.post(PATH, json=BODY)

    (line,) = lines_of(logged)
    told = (line["outcome"], line["status"], line["code"], line["images"], line["charged_tokens"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert told == (outcome, status, code, 0, 0)
    assert line["provider"] == "openai"


async def test_what_is_told_again_says_so_and_charges_nothing(
    client: AsyncClient, fake: FakeProvider, logged: Lines
) -> None:
    for number in ("first", "second"):
        await client.post(PATH, json=BODY, headers={"idempotency-key": "again", "x-request-id": number})

    made, told = lines_of(logged)
    assert (made["outcome"], made["replayed"], made["charged_tokens"]) == ("completed", False, 5_000)
    assert (told["outcome"], told["replayed"], told["charged_tokens"]) == ("replayed", True, 0)
    assert (made["id"], made["request_id"], told["request_id"]) == (told["id"], "first", "second")
    assert (told["provider"], told["images"]) == ("openai", 1)


async def test_a_stream_says_so(client: AsyncClient, fake: FakeProvider, logged: Lines) -> None:
    await client.post(PATH, json=BODY | {"model": "gpt-image-2", "size": "1024x1024", "stream": True})

    (line,) = lines_of(logged)
    assert (line["outcome"], line["stream"], line["job"]) == ("completed", True, False)


async def test_a_job_names_the_request_that_asked_for_it(
    services: Services, client: AsyncClient, fake: FakeProvider, logged: Lines
) -> None:
    headers = {"x-request-id": "asked-1", "traceparent": PARENT}
    queued = (await client.post(f"{PATH}/async", json=BODY, headers=headers)).json()["id"]

    await all_jobs(services)

    (line,) = lines_of(logged)
    assert (line["id"], line["outcome"], line["job"]) == (queued, "completed", True)
    assert (line["request_id"], line["trace_id"]) == ("asked-1", TRACE)


async def test_a_job_that_is_put_off_and_one_that_is_cancelled_have_lines(
    services: Services, client: AsyncClient, fake: FakeProvider, logged: Lines
) -> None:
    fake.default = Status(429)
    queued = (await client.post(f"{PATH}/async", json=BODY)).json()["id"]

    await all_jobs(services)
    await client.post(f"{PATH}/{queued}/cancel")

    put_off, cancelled = lines_of(logged)
    assert (put_off["outcome"], put_off["job"]) == ("postponed", True)
    assert (cancelled["outcome"], cancelled["id"], cancelled["job"]) == ("cancelled", queued, True)


async def all_jobs(services: Services) -> None:
    """Whatever waits has had its turn."""
    lane = lanes.Lane()
    async with asyncio.timeout(10):
        await lanes.turn(services, lane)
        while services.status.running:
            await asyncio.sleep(0.01)


async def test_a_job_whose_turn_never_came_has_a_line(
    services: Services, client: AsyncClient, account: Account, engine: AsyncEngine, logged: Lines
) -> None:
    queued = (await client.post(f"{PATH}/async", json=BODY)).json()["id"]
    async with engine.begin() as tx:
        late = "UPDATE generations SET expires_at = now() - interval '1 s' WHERE account_id = :id"
        await tx.execute(text(late), {"id": account.id})

    await jobs.drop_expired(services)

    (line,) = lines_of(logged)
    assert (line["id"], line["outcome"], line["job"]) == (queued, "expired", True)
    assert line["request_id"].startswith("req_")


async def test_what_a_dead_process_left_has_a_line_of_its_sweeper(
    services: Services, account: Account, serve: Serve, logged: Lines
) -> None:
    slow = SlowProvider()
    async with another_worker(services, slow) as dying:
        asking = asyncio.create_task(ask(account, await serve(dying), "lost"))
        async with asyncio.timeout(10):
            while not slow.asked:
                await asyncio.sleep(0.01)
    await asyncio.gather(asking, return_exceptions=True)
    slow.ready.set()

    await recovery.sweep(services, Deaths(0))
    async with asyncio.timeout(10):
        while services.status.running:
            await asyncio.sleep(0.01)

    (line,) = lines_of(logged)
    assert line["outcome"] in ("lost", "recovered")
    assert (line["account"], line["env"]) == (public_id("acc", account.id), "live")
    assert line["ms"] >= 0


async def test_no_secret_is_in_the_log_or_the_metrics(
    client: AsyncClient, account: Account, fake: FakeProvider, logged: Lines
) -> None:
    fake.then(Images(), Status(500), Refuse(), Status(401))
    own = "sk-own-canary-5d1e"
    link = (await client.post(PATH, json=BODY)).json()["data"][0]["url"]
    for headers in ({}, {"idempotency-key": "c"}, {"idempotency-key": "c"}, {"x-provider-key": own}):
        await client.post(PATH, json=BODY | {"model": "openai:dall-e-2"}, headers=headers)
    await client.get(link)

    said = repr(logged) + (await client.get("/metrics")).text
    assert len(lines_of(logged)) == 5
    path = link.partition("/media/")[2]
    assert len(path) > 40
    for secret in (CANARY, account.key, KEY, own, path):
        assert secret not in said


async def test_whatever_callers_invent_makes_no_new_series(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    await client.post(PATH, json=BODY)
    before = set(await counted(client))

    for number in range(10):
        invented = {"model": f"model-{number}", "user": f"user-{number}"}
        await client.post(PATH, json=BODY | invented, headers={"x-app-id": f"app-{number}"})
        await client.post(PATH, json=BODY, headers={"x-app-id": f"app-{number}"})
    after = set(await counted(client))

    grown = after - before
    assert {name for name in grown if not name.startswith("imagegate_requests_")} == set()
    assert len(grown) <= 4  # 404 and 429 of one route, each with when it was first seen


async def test_without_info_there_is_no_line_but_it_is_counted(
    services: Services, account: Account, fake: FakeProvider, serve: Callable[[Services], Awaitable[str]]
) -> None:
    quiet = structlog.make_filtering_bound_logger(30)
    counts = replace(services.status).counts
    structlog.configure(wrapper_class=quiet)
    try:
        with capture_logs() as events:
            url, headers = await serve(services), {"x-api-key": account.key}
            async with AsyncClient(base_url=url, headers=headers, timeout=30) as client:
                before = (await counted(client))["imagegate_generations_total/completed"]
                await client.post(PATH, json=BODY)
                after = (await counted(client))["imagegate_generations_total/completed"]
    finally:
        structlog.reset_defaults()

    assert events == []
    assert (after - before, counts is services.status.counts) == (1, True)


async def test_every_outcome_is_told_from_the_beginning(client: AsyncClient) -> None:
    told = await counted(client)

    assert {f"imagegate_generations_total/{outcome}" for outcome in OUTCOMES} <= told.keys()
