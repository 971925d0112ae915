"""PostgreSQL that takes no writes, that is crashed again and again, and callers that leave by the thousand."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from httpx import AsyncClient, HTTPError, Response
from sqlalchemy import text

from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.journal.resolving import RESOLVE_S
from imagegate.registry import open_registry
from imagegate.services import Services
from imagegate.settings import Settings
from tests.conftest import LIVE_TOKENS, Account, Urls, open_account
from tests.db.programs import open_folder, server_pid
from tests.db.test_restart import Load, everything_is_settled, log_of, open_customer, serving
from tests.fault_proxy import Fault
from tests.faults.proofs import PATH, nothing_is_amiss
from tests.journal.test_fault_proxy import BODY, PRICE, Line, open_line, told

DATABASE = "readonly"
LEAVERS, AT_ONCE = 1_000, 40


@pytest.fixture(scope="module")
async def line(settings: Settings, postgres: EmbeddedPostgres) -> AsyncIterator[Line]:
    """A gateway of its own on a database of its own."""
    owner, app = postgres.create_database(DATABASE)
    await asyncio.to_thread(upgrade, owner, lambda said: None)
    async with open_line(settings, Urls(app, owner)) as opened:
        yield opened


async def takes_writes(line: Line, yes: bool) -> None:
    """As after a failover: every session ends, and the new ones may write, or not."""
    async with line.engine.connect() as connection:
        options = await connection.execution_options(isolation_level="AUTOCOMMIT")
        word = "off" if yes else "on"
        await options.execute(text(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = {word}"))
    line.proxy.strike(Fault.RESET)
    line.proxy.heal()


async def ask(line: Line, customer: Account, *keys: str) -> list[Response]:
    async with AsyncClient(base_url=line.url, headers={"x-api-key": customer.key}, timeout=30) as http:
        asked = (http.post(PATH, json=BODY, headers={"idempotency-key": key}) for key in keys)
        return list(await asyncio.gather(*asked))


async def test_a_database_that_takes_no_writes_is_one_that_is_away(line: Line) -> None:
    customer = await open_account(line.services, line.engine)
    before = await ask(line, customer, "before")
    await takes_writes(line, False)
    try:
        during = [*await ask(line, customer, "a", "b", "c"), *await ask(line, customer, "a", "b", "c")]
        replayed = await ask(line, customer, "before")
    finally:
        await takes_writes(line, True)

    after = await again(line, customer, "a", "b", "c")

    assert {told(answer) for answer in during} == {(503, "billing_unavailable")}
    assert {answer.headers["x-should-retry"] for answer in during} == {"true"}
    assert [answer.status_code for answer in replayed] == [200], "what was made can be had"
    assert await customer.balance() == (LIVE_TOKENS - 4 * PRICE, 0)
    await nothing_is_amiss(line.engine, line.url, [customer], [*before, *replayed, *during, *after])


async def again(line: Line, customer: Account, *keys: str) -> list[Response]:
    async with asyncio.timeout(20):
        while True:
            answers = await ask(line, customer, *keys)
            if {answer.status_code for answer in answers} == {200}:
                return answers
            await asyncio.sleep(0.1)


async def test_a_capture_waits_until_the_database_takes_writes_again(line: Line) -> None:
    """The hold was taken before; the image is made meanwhile."""
    customer = await open_account(line.services, line.engine)
    slowly = {**BODY, "prompt": "[[slow:1]] a lighthouse"}
    async with AsyncClient(base_url=line.url, headers={"x-api-key": customer.key}, timeout=30) as http:
        asking = asyncio.create_task(http.post(PATH, json=slowly))
        async with asyncio.timeout(10):
            while (await customer.balance())[1] == 0:
                await asyncio.sleep(0.01)
        await takes_writes(line, False)
        await asyncio.sleep(RESOLVE_S + 1)  # by then it is asked anew, on a sound session
        asked_early = asking.done()
        await takes_writes(line, True)
        answer = await asking

    assert not asked_early
    assert told(answer) == (200, None)
    assert await customer.balance() == (LIVE_TOKENS - PRICE, 0)
    await nothing_is_amiss(line.engine, line.url, [customer], [answer])


async def test_a_thousand_callers_that_leave_take_no_connection_and_no_hold_with_them(
    services: Services, account: Account, base_url: str
) -> None:
    chance, slots, stayed = random.Random(1_000), asyncio.Semaphore(AT_ONCE), []

    async def ask_and_leave(http: AsyncClient, number: int) -> None:
        async with slots:
            with suppress(TimeoutError, HTTPError):
                body = {**BODY, "prompt": f"a lighthouse {number}"}
                asking = http.post(PATH, json=body)
                stayed.append(await asyncio.wait_for(asking, chance.uniform(0.0005, 0.02)))

    async with AsyncClient(base_url=base_url, headers={"x-api-key": account.test_key}, timeout=30) as http:
        await asyncio.gather(*(ask_and_leave(http, number) for number in range(LEAVERS)))
        async with asyncio.timeout(20):
            while services.status.running or services.engine.pool.checkedout() > 1:  # type: ignore[attr-defined]
                await asyncio.sleep(0.05)  # one is the journal's own
        last = await asyncio.gather(*(http.post(PATH, json=BODY) for _ in range(AT_ONCE)))

    assert len(stayed) < LEAVERS / 2, "most have left"
    assert {answer.status_code for answer in last} == {200}
    assert (await account.balance("test"))[1] == 0
    await nothing_is_amiss(account.engine, base_url, [account], last)


@pytest.mark.long
async def test_a_database_that_is_crashed_every_5_seconds_loses_nothing() -> None:
    with open_folder() as folder:
        data_dir = folder / "data"
        async with open_registry(Settings(data_dir=data_dir)) as registry, serving(data_dir) as url:
            async with Load(url, await open_customer(registry)) as load:
                for number in range(8):
                    await load.draws()
                    await asyncio.sleep(5)
                    pid = server_pid(data_dir)
                    assert pid
                    os.kill(pid, signal.SIGQUIT if number % 2 else signal.SIGKILL)
                await load.draws()
                assert {status for status, _ in load.told} <= {200, 409, 503}, log_of(data_dir).read_text()[
                    -4000:
                ]
            await everything_is_settled(registry.engine, load.made)
