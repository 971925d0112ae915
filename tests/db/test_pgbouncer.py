"""A gateway behind PgBouncer in transaction mode, with fewer connections to the server than to the gateway."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import LIVE_TOKENS, SECRET, Account, listening, open_account
from tests.db.pgbouncer import Bouncer, bouncing
from tests.fake_provider import FakeProvider
from tests.line.test_polled import Serve, another_worker, ask
from tests.line.test_sweep import Silent
from tests.webhooks.receiver import Receiver
from typer.testing import CliRunner

from imagegate.cli import app
from imagegate.db.base import open_engine, snapshot
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.ledger.verify import verify
from imagegate.services import Services, open_services
from imagegate.settings import Settings
from imagegate.worker import working

PATH = "/v1/images/generations"
BODY = {"prompt": "a red fox", "model": "dall-e-2", "size": "256x256"}
COST = 5_000
AT_ONCE, PICTURES, JOBS = 32, 40, 8
CONNECTIONS, POOLED = 12, 3
QUICK = {
    "database_timeout_s": 2.0,
    "worker_lease_s": 3.0,
    "heartbeat_s": 1.0,
    "sweep_interval_s": 1.0,
    "webhook_allow_private": True,
}


@dataclass(frozen=True)
class Owned:
    """The database by the owner's URL, past the pooler, and the pooler."""

    url: str
    bouncer: Bouncer


@pytest.fixture(scope="module")
def owned(postgres: EmbeddedPostgres) -> Iterator[Owned]:
    owner, app = postgres.create_database("pooled")
    with bouncing(app, POOLED) as bouncer:
        yield Owned(owner, bouncer)


@pytest.fixture(scope="module")
def command(owned: Owned, settings: Settings) -> Any:
    """Runs a verb of the command line as an operator would whose database is behind the pooler."""
    ours = {
        "DATABASE_URL": owned.bouncer.url,
        "DATABASE_DIRECT_URL": owned.url,
        "DATABASE_POOLER": "true",
        "SECRET": SECRET,
        "DATA_DIR": str(settings.data_dir.with_name("pooled")),
    }
    environment = {f"IMAGEGATE_{name}": value for name, value in ours.items()}

    def run(*args: str) -> str:
        done = CliRunner().invoke(app, args, env=environment)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


@dataclass(frozen=True)
class Gateway:
    services: Services
    url: str
    engine: AsyncEngine


@pytest.fixture(scope="module")
async def gateway(owned: Owned, command: Any, settings: Settings) -> AsyncIterator[Gateway]:
    await asyncio.to_thread(command, "db", "upgrade")
    changes = {
        "database_url": SecretStr(owned.bouncer.url),
        "database_pooler": True,
        "database_pool_size": CONNECTIONS,
        "data_dir": settings.data_dir.with_name("pooled"),
    }
    changed = settings.model_copy(update={**changes, **QUICK})
    async with AsyncExitStack() as stack:
        engine = open_engine(owned.url, settings, statement_timeout_s=60)
        stack.push_async_callback(engine.dispose)
        services = await stack.enter_async_context(open_services(changed))
        await stack.enter_async_context(working(services))
        yield Gateway(services, await stack.enter_async_context(listening(services)), engine)


@pytest.fixture
async def account(gateway: Gateway) -> AsyncIterator[Account]:
    """The ledger is proved after each test."""
    yield await open_account(gateway.services, gateway.engine)
    async with snapshot(gateway.engine) as connection:
        report = await verify(connection)
    assert report.ok, report.violations


@pytest.fixture
async def caller(gateway: Gateway, account: Account) -> AsyncIterator[AsyncClient]:
    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as client:
        yield client


async def draw(caller: AsyncClient, number: int, turns: asyncio.Semaphore) -> Response:
    """As clients do: whoever is told to come back comes back, with the key of the first try."""
    async with turns, asyncio.timeout(30):
        while True:
            key = {"idempotency-key": f"order-{number}"}
            answer = await caller.post(PATH, json=BODY | {"prompt": f"fox {number}"}, headers=key)
            if answer.status_code not in (409, 503):
                return answer
            assert answer.headers["x-should-retry"] == "true", answer.text
            await asyncio.sleep(0.05)


def told(answer: Response) -> tuple[str, str]:
    assert answer.status_code == 200, answer.text
    return answer.json()["metadata"]["id"], answer.json()["data"][0]["b64_json"]


async def test_equal_requests_of_many_callers_are_one_picture_and_one_debit(
    owned: Owned, gateway: Gateway, caller: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    answers = await asyncio.gather(*(draw(caller, n // 2, turns) for n in range(2 * PICTURES)))

    assert len({told(answer)[0] for answer in answers}) == len(fake.requests) == PICTURES
    assert all(told(a) == told(b) for a, b in zip(answers[::2], answers[1::2], strict=True))
    assert await account.balance() == (LIVE_TOKENS - PICTURES * COST, 0)
    clients = [row for row in owned.bouncer.shown("CLIENTS") if "pooled" in row]
    servers = [row for row in owned.bouncer.shown("SERVERS") if "pooled" in row]
    assert 0 < len(servers) <= POOLED < len(clients)


async def test_jobs_are_done_once_and_their_webhooks_sent(
    caller: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    async with Receiver() as receiver:
        hook = {"webhook_url": receiver.url + "/hook"}
        bodies = [BODY | hook | {"prompt": f"job {n}"} for n in range(JOBS)]
        accepted = await asyncio.gather(*(caller.post(f"{PATH}/async", json=body) for body in bodies))
        assert {answer.status_code for answer in accepted} == {202}
        async with asyncio.timeout(20):
            while len(receiver.requests) < JOBS:
                await asyncio.sleep(0.02)

        told = sorted(request.body["data"]["id"] for request in receiver.requests)

    assert told == sorted(answer.json()["id"] for answer in accepted)
    assert (len(fake.requests), await account.balance()) == (JOBS, (LIVE_TOKENS - JOBS * COST, 0))


async def test_the_sweeper_ends_what_a_dead_process_left(
    gateway: Gateway, account: Account, serve: Serve
) -> None:
    silent = Silent()
    async with another_worker(gateway.services, silent) as dying:
        asking = asyncio.create_task(ask(account, await serve(dying), "lost"))
        async with asyncio.timeout(10):
            while not silent.asked:
                await asyncio.sleep(0.01)
        held = await account.balance()
    await asking
    assert held == (LIVE_TOKENS, COST)

    async with asyncio.timeout(15):
        while await account.balance() != (LIVE_TOKENS, 0):
            await asyncio.sleep(0.05)


async def test_a_pooler_reloaded_and_restarted_under_load_loses_no_picture_and_no_token(
    owned: Owned, caller: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    turns = asyncio.Semaphore(AT_ONCE)
    drawing = asyncio.gather(*(draw(caller, n, turns) for n in range(PICTURES)))

    await fake.arrived(PICTURES // 4)
    owned.bouncer.reload()
    await fake.arrived(PICTURES // 2)
    owned.bouncer.stop()
    await asyncio.sleep(0.2)
    owned.bouncer.start()

    answers = await drawing
    assert len({told(answer)[0] for answer in answers}) == PICTURES
    async with asyncio.timeout(15):
        while await account.balance() != (LIVE_TOKENS - PICTURES * COST, 0):
            await asyncio.sleep(0.05)


async def test_the_doctor_finds_nothing_wrong(gateway: Gateway, command: Any) -> None:
    told = await asyncio.to_thread(command, "doctor", "--json")

    assert '"fail"' not in told
