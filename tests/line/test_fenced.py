"""A worker that was taken for dead and wakes up: it changes nothing, and what it stored is used or removed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.generation import recovery, settling
from imagegate.generation.recovery import Deaths
from imagegate.journal.items import Settle, Take
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Wait
from tests.line.test_polled import COST, Serve, SlowProvider, another_worker, ask, until_state

Sleep = tuple[asyncio.Event, asyncio.Event]


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Sleep:
    """Every worker falls asleep once its images are stored: set when one does, and to be set to wake it."""
    stored, gate = asyncio.Event(), asyncio.Event()

    async def capture(*args: Any) -> Any:
        stored.set()
        await gate.wait()
        return await settling.capture(*args)

    monkeypatch.setattr("imagegate.generation.pipeline.capture", capture)
    return stored, gate


@pytest.fixture
async def late(services: Services, serve: Serve) -> AsyncIterator[str]:
    """The address of the worker that is taken for dead."""
    async with another_worker(services, SlowProvider()) as worker:
        yield await serve(replace(worker, adapters=services.adapters))


async def test_it_wakes_after_its_generation_was_voided(
    services: Services, account: Account, engine: AsyncEngine, fake: FakeProvider, late: str
) -> None:
    gate = asyncio.Event()
    fake.then(Wait(gate))
    asking = asyncio.create_task(ask(account, late))
    await fake.arrived(1)
    assert await recovery.sweep(services, Deaths(0)) == 1
    gate.set()
    answer = await asking
    row = await until_state(engine, account, "voided")
    stored = await services.store.list(f"{account.id.hex}/live/{row.id.hex}/")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "settlement_pending")
    assert (row.outcome, stored) == ("lost", [])
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_it_wakes_after_what_it_stored_was_captured(
    services: Services,
    account: Account,
    engine: AsyncEngine,
    fake: FakeProvider,
    late: str,
    asleep: Sleep,
) -> None:
    stored, gate = asleep
    asking = asyncio.create_task(ask(account, late, "asleep"))
    await stored.wait()
    assert await recovery.sweep(services, Deaths(0)) == 1
    gate.set()
    answer = await asking
    row = await until_state(engine, account, "captured")
    again = await ask(account, late, "asleep")
    kept = await services.store.list(f"{account.id.hex}/live/{row.id.hex}/")

    assert answer.status_code == 503
    assert (again.status_code, again.json()["metadata"]["charged_tokens"], len(kept)) == (200, COST, 1)
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - COST, 0))


async def test_it_wakes_after_its_work_was_taken_over(
    services: Services,
    account: Account,
    engine: AsyncEngine,
    fake: FakeProvider,
    late: str,
    asleep: Sleep,
) -> None:
    """Whoever took it over may have found what it stored, and is going to capture that."""
    stored, gate = asleep
    asking = asyncio.create_task(ask(account, late))
    await stored.wait()
    row = await until_state(engine, account, "running")
    mine = (account.id, "live", row.id)
    await services.journal.change(Take(*mine, 1, services.journal.worker_id), patience_s=5)
    gate.set()
    answer = await asking
    kept = await services.store.list(f"{account.id.hex}/live/{row.id.hex}/")
    await services.journal.settle(Settle(*mine, 2, outcome="lost"), patience_s=5)

    assert (answer.status_code, len(kept)) == (503, 1)
    assert await account.balance() == (LIVE_TOKENS, 0)
