"""Providers that work under an id of their own: the work is asked about further, and never sent twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult, UpstreamJob
from imagegate.errors import Ambiguous, ContentRejected
from imagegate.generation import recovery
from imagegate.generation.recovery import Deaths
from imagegate.identity.credentials import CredentialBook
from imagegate.ids import new_id
from imagegate.journal.journal import Journal
from imagegate.services import Services, Status
from imagegate.supervisor import Supervisor
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_verbs import picture

PATH = "/v1/images/generations"
BODY = {"prompt": "a slow fox", "model": "dall-e-2", "size": "256x256"}
COST = 5_000

Serve = Callable[[Services], Awaitable[str]]


@dataclass
class SlowProvider:
    """Accepts work at once and has it ready when the test says so; it outlives the gateways that ask."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    submitted: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refuses: bool = False

    async def generate(self, call: ProviderCall) -> ProviderResult:
        job = UpstreamJob(f"job-{len(self.submitted)}", "https://slow.example/jobs")
        self.submitted.append(job.id)
        await call.accepted(job)
        return await self.resume(call, job)

    async def resume(self, call: ProviderCall, job: UpstreamJob) -> ProviderResult:
        self.asked.append(job.id)
        try:
            async with asyncio.timeout(call.poll_s):
                await self.ready.wait()
        except TimeoutError:
            raise Ambiguous("slow", "did not finish", upstream_id=job.id) from None
        if self.refuses:
            raise ContentRejected("slow found it unfit", stage="output")
        return ProviderResult((ProviderImage(data=picture("256x256", "png")),), upstream_id=job.id)


@asynccontextmanager
async def another_worker(services: Services, slow: SlowProvider, **settings: Any) -> AsyncIterator[Services]:
    """A process of its own, as far as the ledger can tell. On leaving it is dead and has settled nothing."""
    journal = Journal(services.engine, new_id(), pooler=services.settings.database_pooler)
    lane = asyncio.create_task(journal.run())
    made = replace(
        services,
        settings=services.settings.model_copy(update=settings),
        adapters={**services.adapters, "openai": slow},
        journal=journal,
        supervisor=Supervisor(),
        status=Status(),
    )
    try:
        yield made
    finally:
        await made.supervisor.drain(0)
        journal.close()
        await lane


async def ask(account: Account, url: str, key: str | None = None) -> Response:
    headers = {"authorization": f"Bearer {account.key}"} | ({"idempotency-key": key} if key else {})
    async with AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        return await client.post(PATH, json=BODY)


async def row_of(engine: AsyncEngine, account: Account) -> Any:
    async with engine.connect() as connection:
        query = text("SELECT * FROM generations WHERE account_id = :id")
        return (await connection.execute(query, {"id": account.id})).one()


async def attempts_of(engine: AsyncEngine, account: Account) -> list[Any]:
    async with engine.connect() as connection:
        query = text("SELECT * FROM attempts WHERE account_id = :id ORDER BY epoch, seq")
        return list((await connection.execute(query, {"id": account.id})).all())


async def until_state(engine: AsyncEngine, account: Account, state: str) -> Any:
    async with asyncio.timeout(10):
        while (row := await row_of(engine, account)).state != state:
            await asyncio.sleep(0.02)
    return row


async def die_after_it_is_accepted(
    services: Services, account: Account, slow: SlowProvider, serve: Serve
) -> None:
    """A worker sends the work, keeps its id, and is gone."""
    async with another_worker(services, slow) as dying:
        asking = asyncio.create_task(ask(account, await serve(dying), "slow"))
        async with asyncio.timeout(10):
            while not slow.asked:
                await asyncio.sleep(0.01)
    assert (await asking).status_code == 503


async def test_the_caller_is_told_that_it_is_still_being_made(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    slow = SlowProvider()
    async with another_worker(services, slow, deadline_s=0.3) as worker:
        url = await serve(worker)
        first = await ask(account, url, "slow")
        waiting = await row_of(engine, account)
        slow.ready.set()
        await until_state(engine, account, "captured")
        second = await ask(account, url, "slow")

    assert (first.status_code, first.json()["error"]["code"]) == (503, "generation_pending")
    assert first.headers["x-should-retry"] == "true"
    assert waiting.id.hex in first.json()["error"]["message"]
    assert (waiting.state, slow.submitted) == ("in_doubt", ["job-0"])
    assert (second.status_code, second.headers["idempotent-replayed"]) == (200, "true")
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_another_worker_goes_on_and_sends_nothing_again(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    slow = SlowProvider()
    await die_after_it_is_accepted(services, account, slow, serve)
    async with another_worker(services, slow) as heir:
        found = await recovery.sweep(heir, Deaths(0))
        again = await recovery.sweep(heir, Deaths(0))
        slow.ready.set()
        row = await until_state(engine, account, "captured")
        told = await ask(account, await serve(heir), "slow")

    assert (found, again, row.epoch) == (1, 0, 2)
    assert (slow.submitted, slow.asked) == (["job-0"], ["job-0", "job-0"])
    assert told.headers["idempotent-replayed"] == "true"
    assert [a["class"] for a in told.json()["metadata"]["attempts"]] == ["DELIVERED"]
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_of_two_sweepers_one_goes_on(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    slow = SlowProvider()
    await die_after_it_is_accepted(services, account, slow, serve)
    async with another_worker(services, slow) as one, another_worker(services, slow) as two:
        await asyncio.gather(recovery.sweep(one, Deaths(0)), recovery.sweep(two, Deaths(0)))
        slow.ready.set()
        row = await until_state(engine, account, "captured")

    assert (row.epoch, len(slow.asked), slow.submitted) == (2, 2, ["job-0"])
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_work_that_nobody_can_ask_about_is_voided_and_its_cost_at_risk(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    slow = SlowProvider()
    await die_after_it_is_accepted(services, account, slow, serve)
    async with another_worker(services, slow) as heir:
        found = {name: access for name, access in services.credentials.found.items() if name != "openai"}
        without = CredentialBook(found)
        adapters = {**services.adapters}  # the plain adapter cannot resume, either
        await recovery.sweep(replace(heir, credentials=without, adapters=adapters), Deaths(0))
        row = await until_state(engine, account, "voided")

    (attempt,) = await attempts_of(engine, account)
    assert (row.outcome, row.answer_code) == ("lost", "worker_lost")
    assert (attempt.upstream_id, attempt[9]) == ("job-0", "AMBIGUOUS")
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_work_that_the_provider_refuses_in_the_end_costs_nothing(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    slow = SlowProvider()
    await die_after_it_is_accepted(services, account, slow, serve)
    slow.refuses = True
    slow.ready.set()
    async with another_worker(services, slow) as heir:
        await recovery.sweep(heir, Deaths(0))
        row = await until_state(engine, account, "voided")
        told = await ask(account, await serve(heir), "slow")

    assert (row.outcome, row.epoch) == ("final", 2)
    assert (told.status_code, told.json()["error"]["code"]) == (400, "moderation_blocked")
    assert told.json()["error"]["type"] == "image_generation_user_error"
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_what_was_lost_with_its_worker_is_booked_at_risk(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    """No id was kept, so nobody can tell whether the provider was asked."""

    class Silent(SlowProvider):
        async def generate(self, call: ProviderCall) -> ProviderResult:
            self.asked.append("unknown")
            await self.ready.wait()
            raise AssertionError("never ready")

    slow = Silent()
    await die_after_it_is_accepted(services, account, slow, serve)

    async with another_worker(services, slow) as heir:
        await recovery.sweep(heir, Deaths(0))

    row = await until_state(engine, account, "voided")
    (attempt,) = await attempts_of(engine, account)
    assert row.outcome == "lost"
    assert attempt.at_risk_usd > Decimal(0)
    assert await account.balance() == (LIVE_TOKENS, 0)
