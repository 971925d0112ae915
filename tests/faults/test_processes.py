"""Gateways as processes: asked to stop at every stage, killed, with a wrong clock, with logs that nobody reads."""

import asyncio
import fcntl
import importlib.util
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import open_engine
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.settings import Settings
from tests.conftest import LIVE_TOKENS, SECRET, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Delay, Wait
from tests.faults.proofs import PATH, nothing_is_amiss
from tests.line.crash_matrix import Place, environment_for
from tests.line.crash_processes import Nursery
from tests.line.test_crash import is_ready

BODY = {"prompt": "a fox", "model": "dall-e-2", "size": "256x256"}
COST, CALLERS = 5_000, 50
STAGES = (5, 25, 49)
"""Of so many callers these have been answered when the gateway is asked to stop."""
SMALL_PIPE_BYTES = 4096
CLOCKS = ("+26h", "-26h")


@pytest.fixture(scope="module")
async def place(
    postgres: EmbeddedPostgres, fake_server: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    """Gateways beside a PostgreSQL that lives on, in a database of their own."""
    folder = tmp_path_factory.mktemp("processes")
    owner, app = postgres.create_database("processes")
    await asyncio.to_thread(upgrade, owner, lambda line: None)
    environment = environment_for(folder, fake_server) | {
        "IMAGEGATE_DATABASE_URL": app,
        "IMAGEGATE_SECRET": SECRET,
        "IMAGEGATE_DATA_DIR": str(folder / "data"),
        "IMAGEGATE_DRAIN_S": "20",
        "IMAGEGATE_SHED_LATE_MS": "60000",
    }
    settings = Settings(data_dir=folder / "data", database_url=SecretStr(app), secret=SecretStr(SECRET))
    async with Nursery(tmp_path_factory.mktemp("gateways")) as nursery:
        yield Place(nursery, environment, settings, owner, fake_server)


@pytest.fixture(scope="module")
async def books(place: Place) -> AsyncIterator[AsyncEngine]:
    """The owner's connections."""
    engine = open_engine(place.owner_url, place.settings, statement_timeout_s=60)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
async def well(place: Place) -> AsyncIterator[str]:
    """A gateway to which nothing happens."""
    process = await place.start()
    yield (await process.answer())["url"]
    process.signal(signal.SIGTERM)
    await process.ended()


async def customers(place: Place, books: AsyncEngine, number: int) -> list[Account]:
    return [
        Account(one.id, one.name, one.key, one.test_key, books) for one in await place.take_accounts(number)
    ]


@dataclass(frozen=True)
class Door:
    """Callers of any gateway: connections of their own, and one client, since a client takes long to open."""

    http: AsyncClient

    def asking(self, url: str, account: Account, number: int) -> list["asyncio.Task[Response]"]:
        """So many callers at once, each with a key of its own."""
        return [asyncio.create_task(self.ask(url, account, f"order-{n}")) for n in range(number)]

    async def ask(self, url: str, account: Account, key: str) -> Response:
        headers = {"x-api-key": account.key, "idempotency-key": key, "connection": "close"}
        return await self.http.post(url + PATH, json=BODY, headers=headers)

    async def ask_again(self, url: str, account: Account, key: str) -> Response:
        """Until the answer is the last word."""
        while True:
            answer = await self.ask(url, account, key)
            if answer.headers.get("x-should-retry") != "true":
                return answer
            await asyncio.sleep(0.2)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as http:
        yield Door(http)


async def answered(tasks: Sequence["asyncio.Task[Response]"], number: int) -> None:
    async with asyncio.timeout(30):
        while sum(task.done() for task in tasks) < number:
            await asyncio.sleep(0.01)


async def takes_nobody(door: Door, url: str) -> None:
    async with asyncio.timeout(20):
        while await is_ready(door.http, url):
            await asyncio.sleep(0.02)


async def test_asked_to_stop_at_any_stage_a_gateway_finishes_what_it_has(
    place: Place, books: AsyncEngine, well: str, door: Door, fake: FakeProvider
) -> None:
    processes = await asyncio.gather(*(place.start() for _ in STAGES))
    urls = [(await process.answer())["url"] for process in processes]
    accounts = await customers(place, books, len(STAGES))
    answers: list[Response] = []
    for stage, process, url, account in zip(STAGES, processes, urls, accounts, strict=True):
        first, rest = asyncio.Event(), asyncio.Event()
        fake.then(*(Wait(first if n < stage else rest) for n in range(CALLERS)))
        before = len(fake.requests)
        tasks = door.asking(url, account, CALLERS)
        await fake.arrived(before + CALLERS)
        first.set()
        await answered(tasks, stage)
        process.signal(signal.SIGTERM)
        await takes_nobody(door, url)
        rest.set()
        answers += await asyncio.gather(*tasks)
    await asyncio.gather(*(process.ended() for process in processes))

    assert {answer.status_code for answer in answers} == {200}
    assert [await account.balance() for account in accounts] == [
        (LIVE_TOKENS - CALLERS * COST, 0) for _ in STAGES
    ]
    await nothing_is_amiss(books, well, accounts, answers[::7])


async def test_of_two_gateways_one_is_killed_and_the_other_serves_its_callers_too(
    place: Place, books: AsyncEngine, well: str, door: Door, fake: FakeProvider
) -> None:
    callers = 8
    killed = await place.start()
    (account,) = await customers(place, books, 1)
    gate = asyncio.Event()
    fake.then(*(Wait(gate) for _ in range(2 * callers)))
    lost = door.asking((await killed.answer())["url"], account, callers)
    (other,) = await customers(place, books, 1)
    kept = door.asking(well, other, callers)
    await fake.arrived(2 * callers)
    killed.signal(signal.SIGKILL)
    ends = await asyncio.gather(*lost, return_exceptions=True)
    gate.set()
    again = await asyncio.gather(*(door.ask_again(well, account, f"order-{n}") for n in range(callers)))
    undisturbed = await asyncio.gather(*kept)

    assert all(isinstance(end, httpx.TransportError) for end in ends)
    assert {answer.status_code for answer in (*again, *undisturbed)} == {200}
    paid = (LIVE_TOKENS - callers * COST, 0)
    assert [await account.balance(), await other.balance()] == [paid, paid]
    await nothing_is_amiss(books, well, [account, other], [*again, *undisturbed])


@asynccontextmanager
async def executed(place: Place, folder: Path, stderr: int | None = None, **more: str) -> AsyncIterator[str]:
    """A gateway as a program of its own from its very beginning; gives its URL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEGATE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imagegate", "serve", "--port", "0", "--json"),
        env={**kept, **place.environment, **more},
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr if stderr is not None else os.open(folder / "err", os.O_WRONLY | os.O_CREAT),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(40):
            said = await process.stdout.readuntil(b"\n}\n")
        yield json.loads(said)["url"]
        assert process.returncode is None, "it ended by itself"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_gateway_whose_output_nobody_reads_answers_all_the_same(
    place: Place, books: AsyncEngine, well: str, door: Door, fake: FakeProvider, tmp_path: Path
) -> None:
    """Both of its pipes are full soon: a line of its log for each request is more than they hold."""
    callers = 60
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SMALL_PIPE_BYTES)
    (account,) = await customers(place, books, 1)
    try:
        async with executed(place, tmp_path, writer, IMAGEGATE_LOG_LEVEL="DEBUG") as url:
            answers = await asyncio.gather(*door.asking(url, account, callers))
            alive = await door.http.get(f"{url}/healthz")
    finally:
        os.close(writer)
        os.close(reader)

    assert {answer.status_code for answer in answers} == {200}
    assert alive.status_code == 200
    assert await account.balance() == (LIVE_TOKENS - callers * COST, 0)
    await nothing_is_amiss(books, well, [account], answers[::10])


def faketime() -> Path | None:
    """libfaketime: Debian's, else that of the wheel."""
    for folder in Path("/usr/lib").glob("*/faketime"):
        if (folder / "libfaketime.so.1").exists():
            return folder / "libfaketime.so.1"
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    return library if library.exists() else None


async def test_gateways_whose_clocks_are_a_day_apart_are_one_service(
    place: Place, books: AsyncEngine, well: str, door: Door, fake: FakeProvider, tmp_path: Path
) -> None:
    """Leases, holds, keys and prices go by the database's clock: nobody takes a live one's work for a dead one's."""
    library = faketime()
    if library is None:
        pytest.skip("no libfaketime here: neither Debian's faketime nor the wheel libfaketime")
    skewed = {"LD_PRELOAD": str(library), "DONT_FAKE_MONOTONIC": "1"}
    (account,) = await customers(place, books, 1)
    async with (
        executed(place, tmp_path, FAKETIME=CLOCKS[0], **skewed) as early,
        executed(place, tmp_path, FAKETIME=CLOCKS[1], **skewed) as late,
    ):
        fake.then(*(Delay(4.5) for _ in range(3)))
        urls = (early, late, well)
        slow = [asyncio.create_task(door.ask(url, account, f"slow-{n}")) for n, url in enumerate(urls)]
        quick = [await door.ask(url, account, "one-key") for url in urls]
        slow_answers = await asyncio.gather(*slow)
        dates = [(await door.http.get(f"{url}/healthz")).headers.get("date") for url in urls]
        links = [answer.json()["data"][0]["url"] for answer in slow_answers]
        read = [(await door.http.get(link)).status_code for link in links]

    assert {answer.status_code for answer in (*quick, *slow_answers)} == {200}
    assert len({answer.json()["metadata"]["id"] for answer in quick}) == 1
    assert len({(date or "")[:16] for date in dates}) == 3, "the clocks are apart"
    assert read == [200, 200, 200]
    assert len(fake.requests) == 4
    assert await account.balance() == (LIVE_TOKENS - 4 * COST, 0)
    await nothing_is_amiss(books, well, [account], [slow_answers[2]])
