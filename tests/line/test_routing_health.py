"""Offerings that rest, are tried again by one call, and are remembered across a restart."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from imagegate.domain import GenerationRequest, Principal, ProviderCall, ProviderResult, Reservation
from imagegate.generation import pipeline
from imagegate.generation.execution import execute
from imagegate.generation.progress import Execution
from imagegate.ids import new_id
from imagegate.routing import rows
from imagegate.routing.breaker import FAILURES_IN_A_ROW, FIRST_COOL_DOWN_S
from imagegate.routing.health import Health
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, fresh
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, Wait
from tests.line.routes import COPY as COPY_MODEL
from tests.line.routes import COST, ask, clock_of, first_of, recorded, rest, routed, sold_twice, told

Serve = Callable[[Services], Awaitable[str]]
OWN, COPY = "openai", "openai_compatible"
SHARED_MODEL = "openai/gpt-image-2.5-flare"


@pytest.fixture
def copy(compatible_server: FakeProvider) -> FakeProvider:
    return fresh(compatible_server)


def alone(services: Services) -> Services:
    """A gateway whose model one provider sells."""
    both = sold_twice(services).catalogue.shelves["live"][SHARED_MODEL]
    return routed(services, both[:1])


async def test_a_provider_that_fails_again_and_again_is_asked_last(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    fake.default = Status(500)
    url = await serve(sold_twice(services))

    answers = [told(await ask(url, account)) for _ in range(FAILURES_IN_A_ROW + 3)]

    assert answers[-3:] == [[(COPY, "DELIVERED")]] * 3
    assert len(fake.requests) == FAILURES_IN_A_ROW


async def test_after_its_cool_down_one_real_call_tells_whether_it_is_back(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    gateway = sold_twice(services)
    url, gate = await serve(gateway), asyncio.Event()
    rest(gateway, first_of(gateway))
    fake.default = Wait(gate)

    resting = told(await ask(url, account))
    clock_of(gateway).now += FIRST_COOL_DOWN_S
    trying = asyncio.create_task(ask(url, account))
    await fake.arrived(1)
    meanwhile = [told(await ask(url, account)) for _ in range(3)]
    gate.set()
    back = [told(await trying), told(await ask(url, account))]

    assert resting == [(COPY, "DELIVERED")]
    assert meanwhile == [[(COPY, "DELIVERED")]] * 3
    assert back == [[(OWN, "DELIVERED")]] * 2
    assert len(fake.requests) == 2


async def test_a_call_that_finds_it_still_broken_falls_back_and_lets_it_rest_longer(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    gateway = sold_twice(services)
    rest(gateway, first_of(gateway))
    clock_of(gateway).now += FIRST_COOL_DOWN_S
    fake.default = Status(503, headers={"retry_after_ms": "1"})

    response = await ask(await serve(gateway), account, n=2)

    assert told(response) == [(OWN, "REFUSED_UNBILLED"), (COPY, "DELIVERED"), (COPY, "DELIVERED")]
    assert first_of(gateway).breaker.cool_down_s == 2 * FIRST_COOL_DOWN_S


async def test_whoever_sells_a_model_alone_is_asked_though_it_rests(
    services: Services, account: Account, fake: FakeProvider, serve: Serve
) -> None:
    gateway = alone(services)
    rest(gateway, first_of(gateway))

    response = await ask(await serve(gateway), account, n=3)

    assert [outcome for _, outcome in told(response)] == ["DELIVERED"] * 3
    assert gateway.health.is_clear(first_of(gateway))
    assert await account.balance() == (LIVE_TOKENS - 3 * COST, 0)


async def test_while_one_call_tries_it_others_are_told_that_it_rests(
    services: Services, account: Account, fake: FakeProvider, serve: Serve
) -> None:
    gateway, gate = alone(services), asyncio.Event()
    rest(gateway, first_of(gateway))
    fake.default = Wait(gate)
    url = await serve(gateway)

    trying = asyncio.create_task(ask(url, account))
    await fake.arrived(1)
    other = await ask(url, account)
    gate.set()

    assert (other.status_code, other.json()["error"]["code"]) == (502, "all_providers_failed")
    assert "openai is resting after failures until" in other.json()["error"]["message"]
    assert (await trying).status_code == 200
    assert sorted(await recorded(account)) == [(OWN, "DELIVERED"), (OWN, "NOT_SENT")]
    assert len(fake.requests) == 1
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_a_call_that_is_cancelled_leaves_the_next_one_to_try(
    services: Services, account: Account
) -> None:
    asked = asyncio.Event()

    class Hanging:
        async def generate(self, call: ProviderCall) -> ProviderResult:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError("never")

    gateway = replace(alone(services), adapters={OWN: Hanging()})
    rest(gateway, record := first_of(gateway))
    who, request = Principal(account.id, "live", new_id()), GenerationRequest("a fox", model=SHARED_MODEL)
    deadline = asyncio.get_running_loop().time() + 60
    reservation = Reservation(new_id(), 1, who, 0, deadline, {})
    plan = pipeline.estimate(gateway, who, request)

    work = asyncio.create_task(execute(gateway, reservation, plan, request, Execution()))
    await asked.wait()
    during = (record.trying, record.breaker.probing)
    work.cancel()
    await asyncio.wait({work})

    assert (during, record.trying, record.breaker.probing) == ((True, True), False, False)


async def test_a_busy_provider_is_left_alone_as_long_as_it_asked(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    gateway = sold_twice(services)
    url = await serve(gateway)
    fake.then(Status(429, headers={"retry_after": "30"}))

    first, second = told(await ask(url, account)), told(await ask(url, account))
    clock_of(gateway).now += 31
    third = told(await ask(url, account))

    assert first == [(OWN, "REFUSED_UNBILLED"), (COPY, "DELIVERED")]
    assert (second, third) == ([(COPY, "DELIVERED")], [(OWN, "DELIVERED")])


async def test_without_a_budget_nothing_is_tried_a_second_time(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    gateway = sold_twice(services)
    record = first_of(gateway)
    while gateway.health.may_try_again(record):
        pass
    fake.default = Status(429, headers={"retry_after_ms": "1"})

    response = await ask(await serve(gateway), account)

    assert told(response) == [(OWN, "REFUSED_UNBILLED"), (COPY, "DELIVERED")]


async def test_a_refused_key_opens_no_breaker(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    gateway = sold_twice(services)
    fake.default = Status(404, code="model_not_found")
    url = await serve(gateway)

    for _ in range(2 * FAILURES_IN_A_ROW):
        await ask(url, account)

    assert gateway.health.is_clear(first_of(gateway))
    assert first_of(gateway).breaker.counted(clock_of(gateway).now)[2] == 0


async def test_how_offerings_do_is_on_the_metrics(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    gateway = sold_twice(services)
    url = await serve(gateway)
    rest(gateway, first_of(gateway))
    await ask(url, account)

    async with AsyncClient(base_url=url) as http:
        said = (await http.get("/metrics")).text

    own = f'{{offering="{first_of(gateway).offering}",provider="openai"}}'
    assert f"imagegate_offering_open{own} 1.0" in said
    assert f"imagegate_offering_failures{own} {FAILURES_IN_A_ROW}.0" in said
    assert f'imagegate_offering_open{{offering="{COPY_MODEL}",provider="openai_compatible"}} 0.0' in said


async def remembered(services: Services, worker: UUID) -> list[str]:
    async with services.engine.connect() as connection:
        query = text("SELECT offering FROM offering_health WHERE worker_id = :id")
        return list((await connection.execute(query, {"id": worker})).scalars())


async def test_a_restart_remembers_who_rests_and_how_fast_the_others_are(services: Services) -> None:
    dying, name = alone(services), f"m-{new_id().hex}"
    rest(dying, record := dying.health.of(OWN, name))
    record.measured(4.0)
    dying.health.succeed(fine := dying.health.of(COPY, name), dying.health.send(fine))
    heir, later = Health(), Health()

    await rows.save(services.engine, new_id(), dying.health)
    await rows.load(services.engine, heir)
    async with services.engine.begin() as tx:
        await tx.execute(text("UPDATE offering_health SET at = at - interval '10 minutes'"))
    await rows.load(services.engine, later)

    told = {(seen.provider, seen.offering): seen for seen in heir.snapshot()}
    assert (told[OWN, name].state, told[OWN, name].p50_s) == ("open", 4.0)
    assert told[COPY, name].state == "closed"
    assert later.snapshot() == []


async def test_what_did_not_change_is_not_written_again_and_old_rows_go(services: Services) -> None:
    gateway, worker = alone(services), new_id()
    rest(gateway, gateway.health.of(OWN, "old"))

    await rows.save(services.engine, worker, gateway.health)
    async with services.engine.begin() as tx:
        await tx.execute(text("UPDATE offering_health SET at = at - interval '2 hours'"))
    await rows.save(services.engine, worker, gateway.health)
    kept = await remembered(services, worker)
    rest(gateway, gateway.health.of(OWN, "new"))
    await rows.save(services.engine, worker, gateway.health)

    assert (kept, await remembered(services, worker)) == (["old"], ["new"])


async def test_a_database_that_is_away_hurts_nobody(services: Services) -> None:
    nowhere: Any = create_async_engine("postgresql+asyncpg://nobody@/none?host=/nowhere")
    gateway = alone(services)
    rest(gateway, record := first_of(gateway))

    await rows.save(nowhere, new_id(), gateway.health)
    await rows.load(nowhere, gateway.health)
    await nowhere.dispose()

    assert record.changed


async def test_a_gateway_writes_down_what_it_knows_when_it_stops(services: Services) -> None:
    """`background` is what a process runs beside its requests."""
    from imagegate.journal.journal import Journal
    from imagegate.services import Status, background
    from imagegate.supervisor import Supervisor

    name = f"m-{new_id().hex}"
    made = replace(
        alone(services),
        health=Health(),
        journal=Journal(services.engine, new_id()),
        supervisor=Supervisor(),
        status=Status(),
    )
    async with background(made):
        rest(made, made.health.of(OWN, name))
    heir = Health()
    await rows.load(services.engine, heir)

    assert name in {seen.offering for seen in heir.snapshot() if seen.state == "open"}
