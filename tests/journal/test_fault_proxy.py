"""A gateway behind a network that fails at every moment of a generation: nobody is charged without an image."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import open_engine, snapshot
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.ledger.verify import verify
from imagegate.services import Services, open_services
from imagegate.settings import Settings
from imagegate.worker import working
from tests.conftest import LIVE_TOKENS, Account, Urls, listening, open_account
from tests.fault_proxy import Fault, FaultProxy, Trap

PATH = "/v1/images/generations"
BODY = {"prompt": "a lighthouse", "model": "sandbox", "size": "64x64", "response_format": "url"}
PRICE = 5_000
OPEN, SETTLE = b"a lighthouse", b"image/png"
"""Words that only the row of an open, and only the row of a captured image, hold."""
MAY_BE_TOLD = {
    (200, None),
    (503, "billing_unavailable"),
    (503, "settlement_pending"),
    (409, "idempotency_in_progress"),
}
OUTAGE_S = {Fault.RESET: 0.3, Fault.BLACKHOLE: 1.3}
"""In a black hole statements run into their timeout, while the server still holds the locks."""


@dataclass(frozen=True)
class Line:
    """A gateway of its own behind a proxy; `engine` goes past the proxy."""

    services: Services
    proxy: FaultProxy
    url: str
    engine: AsyncEngine


@asynccontextmanager
async def open_line(settings: Settings, database: Urls) -> AsyncIterator[Line]:
    """A gateway that sweeps, and gives up a statement after a second."""
    socket_dir = Path(str(make_url(database.app).query["host"]))
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(socket_dir))
        changes = {
            "database_url": SecretStr(proxy.url(database.app)),
            "data_dir": settings.data_dir.with_name("faulty"),
            "database_timeout_s": 1,
            "sweep_interval_s": 1,
        }
        services = await stack.enter_async_context(open_services(settings.model_copy(update=changes)))
        await stack.enter_async_context(working(services))
        url = await stack.enter_async_context(listening(services))
        engine = open_engine(database.owner, settings, statement_timeout_s=60)
        stack.push_async_callback(engine.dispose)
        yield Line(services, proxy, url, engine)


@pytest.fixture(scope="module")
async def line(settings: Settings, postgres: EmbeddedPostgres) -> AsyncIterator[Line]:
    owner, app = postgres.create_database("faults")
    await asyncio.to_thread(upgrade, owner, lambda said: None)
    async with open_line(settings, Urls(app, owner)) as opened:
        yield opened


@pytest.fixture
async def customer(line: Line) -> Account:
    """One whose first image was made: no connection is left that the last test broke."""
    customer = await open_account(line.services, line.engine, LIVE_TOKENS + PRICE)

    async def works() -> bool:
        return {told(answer) for answer in await ask(line, customer, ["first"])} == {(200, None)}

    await until(works)
    return customer


async def ask(line: Line, customer: Account, callers: Sequence[str] = ("a", "b", "c")) -> list[Response]:
    """Callers at once, each with an idempotency key of its own."""
    async with AsyncClient(base_url=line.url, headers={"x-api-key": customer.key}, timeout=30) as http:
        asked = (http.post(PATH, json=BODY, headers={"idempotency-key": caller}) for caller in callers)
        return list(await asyncio.gather(*asked))


async def heal_after(proxy: FaultProxy, outage_s: float) -> None:
    await proxy.sprung.wait()
    await asyncio.sleep(outage_s)
    proxy.heal()


def id_of(answer: Response) -> str:
    return str(answer.json()["metadata"]["id"])


def told(response: Response) -> tuple[int, str | None]:
    error = response.json().get("error")
    return response.status_code, error and error["code"]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.02)


async def captured(customer: Account) -> Sequence[Any]:
    query = text(
        "SELECT g.id, t.tokens FROM generations g JOIN transfers t ON t.account_id = g.account_id AND t.env = g.env "
        "AND t.generation_id = g.id AND t.kind = 'capture' WHERE g.account_id = :id ORDER BY g.id"
    )
    async with customer.engine.connect() as connection:
        return (await connection.execute(query, {"id": customer.id})).all()[1:]


async def no_image_and_no_token_is_lost(line: Line, customer: Account, answers: Sequence[Response]) -> None:
    """Once all is settled: what was captured can be fetched, what was answered was captured, the ledger is clean."""

    async def settled() -> bool:
        return (await customer.balance())[1] == 0

    assert {told(answer) for answer in answers} <= MAY_BE_TOLD
    await until(settled)
    paid = await captured(customer)
    assert await customer.balance() == (LIVE_TOKENS - PRICE * len(paid), 0)
    answered = {id_of(answer) for answer in answers if answer.status_code == 200}
    assert answered <= {f"gen_{row.id.hex}" for row in paid}
    assert await fetched(line, customer, [row.id.hex for row in paid]) == len(paid)
    async with snapshot(line.engine) as connection:
        report = await verify(connection)
    assert report.ok, report.to_json()


async def fetched(line: Line, customer: Account, ids: Sequence[str]) -> int:
    """How many of the generations show an image whose link works. The database may have come back this moment."""
    works = 0
    async with AsyncClient(base_url=line.url, headers={"x-api-key": customer.key}, timeout=30) as http:

        async def ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        await until(ready)
        for id in ids:
            shown = (await http.get(f"{PATH}/gen_{id}")).json()
            works += [(await http.get(entry["url"])).status_code for entry in shown["data"]] == [200]
    return works


@pytest.mark.parametrize(
    ("fault", "at_commit"),
    [(Fault.RESET, False), (Fault.RESET, True), (Fault.BLACKHOLE, True)],
    ids=["reset-write", "reset-commit", "blackhole-commit"],
)
@pytest.mark.parametrize("word", [OPEN, SETTLE], ids=["open", "settle"])
async def test_a_database_that_goes_away_costs_no_money_and_no_image(
    line: Line, customer: Account, fault: Fault, word: bytes, at_commit: bool
) -> None:
    line.proxy.arm(Trap(word, fault, at_commit))

    answers, _ = await asyncio.gather(ask(line, customer), heal_after(line.proxy, OUTAGE_S[fault]))

    await no_image_and_no_token_is_lost(line, customer, answers)


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BLACKHOLE], ids=["reset", "blackhole"])
async def test_callers_that_come_during_an_outage_are_told_to_come_back(
    line: Line, customer: Account, fault: Fault
) -> None:
    """A newcomer, whose key is not remembered."""
    newcomer = await open_account(line.services, line.engine, LIVE_TOKENS + PRICE)
    line.proxy.strike(fault)
    during = await ask(line, newcomer)
    line.proxy.heal()

    assert {told(answer) for answer in during} == {(503, "billing_unavailable")}
    assert {answer.headers["x-should-retry"] for answer in during} == {"true"}
    assert await newcomer.balance() == (LIVE_TOKENS + PRICE, 0)


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BLACKHOLE], ids=["reset", "blackhole"])
async def test_reading_during_an_outage_is_no_bug(line: Line, customer: Account, fault: Fault) -> None:
    """The key is remembered, so it is the routes themselves that find the database gone."""
    paths = (f"{PATH}/gen_{customer.id.hex}", PATH)
    async with AsyncClient(base_url=line.url, headers={"x-api-key": customer.key}, timeout=30) as http:
        await asyncio.gather(*(http.get(path) for path in paths))
        line.proxy.strike(fault)
        during = await asyncio.gather(*(http.get(path) for path in paths))
        line.proxy.heal()

    assert [told(answer) for answer in during] == [(503, "billing_unavailable")] * len(paths)


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_COMMIT], ids=["committed", "rolled-back"])
@pytest.mark.parametrize("word", [OPEN, SETTLE], ids=["open", "settle"])
async def test_a_commit_of_unknown_fate_is_neither_lost_nor_done_twice(
    line: Line, customer: Account, word: bytes, fault: Fault
) -> None:
    """The outage lasts a moment, so the journal finds out in time: no caller need know, but one without a hold."""
    line.proxy.arm(Trap(word, fault, at_commit=True))

    answers = await ask(line, customer)

    assert line.proxy.sprung.is_set()
    lost_open = word == OPEN and fault is Fault.LOSE_COMMIT
    expected = {(200, None), (503, "billing_unavailable")} if lost_open else {(200, None)}
    assert {told(answer) for answer in answers} <= expected
    await no_image_and_no_token_is_lost(line, customer, answers)
    assert len(await captured(customer)) == sum(answer.status_code == 200 for answer in answers)


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_COMMIT, Fault.RESET], ids=lambda f: f.name)
@pytest.mark.parametrize("word", [OPEN, SETTLE], ids=["open", "settle"])
async def test_callers_that_try_again_with_their_key_get_one_image_and_pay_once(
    line: Line, customer: Account, word: bytes, fault: Fault
) -> None:
    line.proxy.arm(Trap(word, fault, at_commit=True))
    first, _ = await asyncio.gather(ask(line, customer), heal_after(line.proxy, OUTAGE_S[Fault.RESET]))

    async def all_have_theirs() -> bool:
        again.append(await ask(line, customer))
        return {told(answer) for answer in again[-1]} == {(200, None)}

    again: list[list[Response]] = []
    await until(all_have_theirs)

    await no_image_and_no_token_is_lost(
        line, customer, [*first, *(answer for asked in again for answer in asked)]
    )
    assert len(await captured(customer)) == 3
    assert [id_of(answer) for answer in again[-1]] == [
        id_of(one) if one.status_code == 200 else id_of(last)
        for one, last in zip(first, again[-1], strict=True)
    ]


@pytest.mark.long
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BLACKHOLE], ids=["reset", "blackhole"])
async def test_a_capture_that_waits_longer_than_its_caller_is_made_all_the_same(
    line: Line, customer: Account, fault: Fault
) -> None:
    line.proxy.arm(Trap(SETTLE, fault))
    answers, _ = await asyncio.gather(ask(line, customer), heal_after(line.proxy, 12))

    assert {told(answer) for answer in answers} <= {(503, "settlement_pending"), (503, "billing_unavailable")}
    assert (503, "settlement_pending") in {told(answer) for answer in answers}
    await no_image_and_no_token_is_lost(line, customer, answers)
    assert len(await captured(customer)) >= 1


async def test_a_slow_database_is_only_slow(line: Line, customer: Account) -> None:
    line.proxy.strike(Fault.DELAY)
    answers = await ask(line, customer)
    line.proxy.heal()

    assert {told(answer) for answer in answers} == {(200, None)}
    await no_image_and_no_token_is_lost(line, customer, answers)
    assert len(await captured(customer)) == 3
