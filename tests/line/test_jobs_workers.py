"""Jobs and those who do them: a fair order, several workers, workers that die, jobs that are asked for again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult
from imagegate.errors import NotSent
from imagegate.generation import lane as lanes
from imagegate.generation import recovery
from imagegate.generation.recovery import Deaths
from imagegate.services import Services
from imagegate.worker import repeat
from tests.conftest import LIVE_TOKENS, Account, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, Wait, picture
from tests.line.test_jobs import BODY, COST, PATH, queue, until_over
from tests.line.test_polled import SlowProvider, another_worker, attempts_of, row_of
from tests.line.test_sweep import Silent


@asynccontextmanager
async def at_work(services: Services, **settings: Any) -> AsyncIterator[Services]:
    """The lane of one worker, and nothing else of it."""
    made = replace(services, settings=services.settings.model_copy(update={"job_poll_s": 0.05, **settings}))
    loop = asyncio.create_task(repeat("jobs", 0.0, partial(lanes.turn, made, lanes.Lane())))
    try:
        yield made
    finally:
        loop.cancel()
        await asyncio.wait({loop})


@asynccontextmanager
async def speaking(base_url: str, account: Account) -> AsyncIterator[AsyncClient]:
    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
        yield client


async def test_a_late_account_does_not_wait_for_all_the_jobs_of_an_early_one(
    services: Services, engine: AsyncEngine, base_url: str, fake: FakeProvider
) -> None:
    early, late = [await open_account(services, engine) for _ in range(2)]
    async with speaking(base_url, early) as one, speaking(base_url, late) as other:
        first = [await queue(one, prompt=f"early {n}") for n in range(6)]
        second = [await queue(other, prompt=f"late {n}") for n in range(2)]
        async with at_work(services, job_concurrency=1):
            done = [await until_over(one, name) for name in first]
            done += [await until_over(other, name) for name in second]

    asked = [request.body["prompt"] for request in fake.requests]
    assert {told["status"] for told in done} == {"completed"}
    assert asked[:4] == ["early 0", "late 0", "early 1", "late 1"]
    assert asked[4:] == ["early 2", "early 3", "early 4", "early 5"]


async def test_no_more_jobs_run_at_once_than_there_are_places(
    services: Services, account: Account, client: AsyncClient, fake: FakeProvider
) -> None:
    gate = asyncio.Event()
    fake.default = Wait(gate)
    names = [await queue(client, prompt=f"fox {n}") for n in range(5)]
    async with at_work(services, job_concurrency=2):
        await fake.arrived(2)
        await asyncio.sleep(0.3)
        at_once = len(fake.requests)
        gate.set()
        done = [await until_over(client, name) for name in names]

    assert (at_once, len(fake.requests)) == (2, 5)
    assert {told["status"] for told in done} == {"completed"}
    assert await account.balance() == (LIVE_TOKENS - 5 * COST, 0)


async def test_two_workers_make_each_job_once(
    services: Services, account: Account, client: AsyncClient, fake: FakeProvider
) -> None:
    names = [await queue(client, prompt=f"fox {n}") for n in range(12)]
    async with another_worker(services, SlowProvider()) as second:
        other = replace(second, adapters=services.adapters)
        async with at_work(services, job_concurrency=3), at_work(other, job_concurrency=3):
            done = [await until_over(client, name) for name in names]

    assert {told["status"] for told in done} == {"completed"}
    assert sorted(request.body["prompt"] for request in fake.requests) == sorted(
        f"fox {n}" for n in range(12)
    )
    assert await account.balance() == (LIVE_TOKENS - 12 * COST, 0)


async def test_a_job_whose_worker_dies_is_made_by_the_next_one(
    services: Services, account: Account, client: AsyncClient, engine: AsyncEngine, fake: FakeProvider
) -> None:
    name, silent = await queue(client, webhook_url="https://hooks.invalid/"), Silent()
    async with another_worker(services, silent) as dying, at_work(dying):
        async with asyncio.timeout(10):
            while not silent.asked:
                await asyncio.sleep(0.01)

    await recovery.sweep(services, Deaths(0.0))
    waits = await row_of(engine, account)
    held = await account.balance()
    async with at_work(services):
        done = await until_over(client, name)

    tried = [
        (a.epoch, getattr(a, "class"), a.at_risk_usd is not None) for a in await attempts_of(engine, account)
    ]
    assert (waits.state, waits.epoch, waits.worker_id, held) == ("queued", 2, None, (LIVE_TOKENS, COST))
    assert (done["status"], len(fake.requests)) == ("completed", 1)
    assert tried == [(1, "AMBIGUOUS", True), (2, "DELIVERED", False)]
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_after_three_workers_a_job_is_lost(
    services: Services, account: Account, client: AsyncClient, engine: AsyncEngine
) -> None:
    name = await queue(client)
    for _ in range(3):
        silent = Silent()
        async with another_worker(services, silent) as dying, at_work(dying):
            async with asyncio.timeout(10):
                while not silent.asked:
                    await asyncio.sleep(0.01)
        await recovery.sweep(services, Deaths(0.0))

    told = (await client.get(f"{PATH}/{name}")).json()
    assert (told["status"], told["error"]["code"]) == ("failed", "worker_lost")
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_accepted_work_of_a_dead_worker_is_not_sent_again(
    services: Services, account: Account, client: AsyncClient
) -> None:
    name, slow = await queue(client), SlowProvider()
    async with another_worker(services, slow) as dying, at_work(dying):
        async with asyncio.timeout(10):
            while not slow.asked:
                await asyncio.sleep(0.01)

    async with another_worker(services, slow) as heir:
        await recovery.sweep(heir, Deaths(0.0))
        slow.ready.set()
        done = await until_over(client, name)

    assert (done["status"], slow.submitted) == ("completed", ["job-0"])
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_a_job_that_failed_unbilled_is_made_when_it_is_asked_for_again(
    services: Services, account: Account, client: AsyncClient, fake: FakeProvider
) -> None:
    fake.then(Status(404))
    headers = {"idempotency-key": "again"}
    first = await client.post(f"{PATH}/async", json=BODY, headers=headers)
    name = first.json()["id"]
    async with at_work(services):
        failed = await until_over(client, name)
        freed = await account.balance()
        second = await client.post(f"{PATH}/async", json=BODY, headers=headers)
        done = await until_over(client, name)

    assert (failed["status"], freed) == ("failed", (LIVE_TOKENS, 0))
    assert (second.status_code, second.json()["id"]) == (202, name)
    assert done["status"] == "completed"
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


class Away(SlowProvider):
    """Cannot be reached the first two times."""

    async def generate(self, call: ProviderCall) -> ProviderResult:
        self.asked.append(call.prompt)
        if len(self.asked) < 3:
            raise NotSent("openai", "could not be reached")
        return ProviderResult((ProviderImage(data=picture("256x256", "png")),))


async def test_a_job_waits_for_a_provider_that_is_away(
    services: Services, account: Account, client: AsyncClient
) -> None:
    away = Away()
    name = await queue(client)
    async with another_worker(services, away) as worker, at_work(worker):
        done = await until_over(client, name)

    tried = [attempt["class"] for attempt in done["metadata"]["attempts"]]
    assert tried == ["NOT_SENT", "NOT_SENT", "DELIVERED"]
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_the_price_is_that_of_the_day_it_was_accepted(
    services: Services, account: Account, client: AsyncClient, engine: AsyncEngine
) -> None:
    name = await queue(client)
    async with engine.begin() as tx:
        dearer = text(
            'UPDATE generations SET quote = quote || \'{"image_tokens": "4000"}\' WHERE account_id = :id'
        )
        await tx.execute(dearer, {"id": account.id})

    async with at_work(services):
        done = await until_over(client, name)

    assert done["charged_tokens"] == 4_000
