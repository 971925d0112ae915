"""kill −9 anywhere on the line: no money is lost, no image that was made durable, and no caller is told a lie.

Gateways are processes of their own. Each dies at a point of the line under one caller; a successor takes over, and
what callers were told is held against the ledger, the store and what the provider was asked.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.domain import Attempt, Generation, Image, Size
from imagegate.errors import WorkerLost
from imagegate.failpoints import POINTS as FAILPOINTS
from imagegate.generation.recall import remembered
from imagegate.generation.resuming import joined
from imagegate.ids import new_id
from imagegate.settings import Settings
from tests.conftest import SECRET
from tests.db.programs import open_folder, server_pid
from tests.fake_provider import FakeProvider
from tests.line.crash_callers import (
    PATH,
    Caller,
    asks_again_without_a_key,
    asks_for_a_job,
    asks_once,
    asks_with_a_key,
    asks_with_the_stock_client,
)
from tests.line.crash_matrix import Place, crash, environment_for
from tests.line.crash_processes import Nursery
from tests.line.crash_proofs import HALF_ANSWER, POINTS, TWICE, Point, points_of

__all__ = ["PATH", "free_port", "is_ready"]

CALLERS = (asks_once, asks_with_a_key, asks_with_the_stock_client, asks_again_without_a_key, asks_for_a_job)
BY_LABEL = {point.label: point for point in POINTS}
SAMPLES = (
    ("after_put, polled", asks_with_a_key),
    ("after_store", asks_once),
    ("before_store", asks_with_the_stock_client),
    ("after_accepted, polled", asks_again_without_a_key),
    ("before_settle", asks_again_without_a_key),
    ("before_store", asks_for_a_job),
)
"""Of what only the long run does everywhere."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
async def nursery(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nursery]:
    async with Nursery(tmp_path_factory.mktemp("gateways")) as opened:
        yield opened


@pytest.fixture(scope="module")
async def beside(
    nursery: Nursery,
    postgres: EmbeddedPostgres,
    fake_server: FakeProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Place:
    """Gateways beside a PostgreSQL that lives on, in a database of their own."""
    folder = tmp_path_factory.mktemp("crash")
    owner, app = postgres.create_database("crash")
    await asyncio.to_thread(upgrade, owner, lambda line: None)
    environment = environment_for(folder, fake_server) | {
        "IMAGEGATE_DATABASE_URL": app,
        "IMAGEGATE_SECRET": SECRET,
        "IMAGEGATE_DATA_DIR": str(folder / "data"),
    }
    settings = Settings(
        data_dir=folder / "data",
        database_url=SecretStr(app),
        secret=SecretStr(SECRET),
        catalogue_file=Path(environment["IMAGEGATE_CATALOGUE_FILE"]),
    )
    return Place(nursery, environment, settings, owner, fake_server)


@pytest.fixture(scope="module")
async def alone(nursery: Nursery, fake_server: FakeProvider) -> AsyncIterator[Place]:
    """A gateway with an embedded PostgreSQL that nobody shares with it, and that is stopped as the gateway dies."""
    with open_folder() as folder:
        data_dir = folder / "data"
        environment = environment_for(folder, fake_server) | {"IMAGEGATE_DATA_DIR": str(data_dir)}
        settings = Settings(data_dir=data_dir, catalogue_file=Path(environment["IMAGEGATE_CATALOGUE_FILE"]))
        with EmbeddedPostgres(data_dir, lambda line: None) as server:
            owner_url = server.owner_url
        yield Place(nursery, environment, settings, owner_url, fake_server, data_dir)


def test_the_matrix_knows_every_failpoint() -> None:
    assert {point.name for point in POINTS} == {*FAILPOINTS, HALF_ANSWER.name}


async def test_wherever_a_gateway_dies_its_caller_s_key_brings_the_images_once(
    beside: Place, fake: FakeProvider
) -> None:
    at_every_failpoint = {point.name: (point, asks_with_a_key) for point in POINTS}
    samples = [(BY_LABEL[label], caller) for label, caller in SAMPLES]

    assert await crash(beside, [*at_every_failpoint.values(), *samples]) == []

    assert fake.violations == []


async def test_a_gateway_that_dies_together_with_its_own_database_comes_back_with_it(
    alone: Place, fake: FakeProvider
) -> None:
    assert await crash(alone, [(BY_LABEL["before_settle"], asks_with_a_key)]) == []

    assert server_pid(alone.settings.data_dir) is None, "the last gateway stops the server"


async def test_accepted_work_outlives_two_gateways_and_is_never_sent_again(
    alone: Place, fake: FakeProvider
) -> None:
    assert await crash(alone, [(TWICE[0], asks_with_a_key)]) == []


@pytest.mark.long
@pytest.mark.parametrize("caller", CALLERS)
async def test_every_caller_at_every_point(beside: Place, fake: FakeProvider, caller: Caller) -> None:
    at_once = 1 if caller is asks_for_a_job else len(POINTS)
    points = points_of(caller)

    for start in range(0, len(points), at_once):
        assert await crash(beside, [(point, caller) for point in points[start : start + at_once]]) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("caller", "point"),
    [(caller, point) for caller in CALLERS for point in (*points_of(caller), *TWICE)],
    ids=lambda value: value.label if isinstance(value, Point) else value.__name__,
)
async def test_every_caller_at_every_point_with_the_database_stopped_at_once(
    alone: Place, fake: FakeProvider, point: Point, caller: Caller
) -> None:
    assert await crash(alone, [(point, caller)]) == []


@pytest.mark.long
async def test_the_command_proves_the_ledger_after_all_of_it(beside: Place, alone: Place) -> None:
    for place in (beside, alone):
        process = await place.nursery.start("ledger", "verify", "--json", environment=place.environment)
        report = await process.answer()

        assert (report["ok"], report["violations"]) == (True, [])
        assert report["checked"]["generations"] > 0


@pytest.mark.parametrize(("epoch", "again"), [(2, True), (3, False)])
def test_what_was_lost_is_asked_for_again_as_long_as_it_can_run_again(epoch: int, again: bool) -> None:
    lost, now = WorkerLost(), datetime.now(UTC)
    attempt = Attempt(0, "unknown", "a/model", "AMBIGUOUS", 0, now, 0, epoch=epoch)
    told = remembered(
        Generation(
            id=new_id(),
            status="failed",
            created_at=now,
            completed_at=now,
            model="a/model",
            request={},
            quote={},
            attempts=(attempt,),
            error_code=lost.code,
            error_message=lost.message,
            error_status=lost.status,
        )
    )

    assert (told.status, told.code, told.should_retry) == (503, "worker_lost", again)


def drawn(name: str, sha256: bytes) -> Image:
    return Image(name, sha256, 1, Size(1, 1), "image/png")


def test_a_job_that_is_asked_again_gives_its_stored_images_once() -> None:
    first, again, second = drawn("1/0", b"fox"), drawn("2/0", b"fox"), drawn("2/1", b"owl")

    assert joined([first], [again, second], 2) == [first, second]
    assert joined([], [again, again, second], 3) == [again, again, second]
    assert joined([first], [again, drawn("2/1", b"fox")], 2) == [first, drawn("2/1", b"fox")]
    assert joined([first], [second, again], 1) == [first]


async def test_a_failpoint_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    environment = os.environ | {
        "IMAGEGATE_FAILPOINT": "after_hold:sigkill",
        "IMAGEGATE_DATA_DIR": str(tmp_path),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "imagegate", "serve", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await process.communicate()

    assert process.returncode == 1
    assert b"IMAGEGATE_ALLOW_FAILPOINTS" in complaint
