"""The embedded PostgreSQL is killed under a gateway that serves: it comes back by itself, and no money is lost."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.db.programs import ask, server_pid
from tests.line.test_crash import PATH, free_port, is_ready

from imagegate.db.base import snapshot
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.pgcluster import is_alive
from imagegate.db.watch import watching
from imagegate.identity import keys
from imagegate.ledger import wallets
from imagegate.ledger.verify import verify
from imagegate.registry import Registry, open_registry
from imagegate.settings import Settings

BODY = {"prompt": "a lighthouse", "model": "sandbox", "size": "64x64", "response_format": "url"}
MAY_BE_TOLD = {
    (200, None),
    (503, "billing_unavailable"),
    (503, "settlement_pending"),
    (409, "idempotency_in_progress"),
}
BACK_WITHIN_S = 15
CALLERS = 4


class Load:
    """Callers that ask all the time, one of them for what was made, and what they were told."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers={"x-api-key": key}, timeout=30)
        self.told: Counter[tuple[int, str | None]] = Counter()
        self.made: list[str] = []

    async def __aenter__(self) -> "Load":
        self._callers = [asyncio.create_task(self._draw()) for _ in range(CALLERS)]
        self._callers.append(asyncio.create_task(self._read()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)
        await self._http.aclose()

    async def _read(self) -> None:
        while True:
            self._count(await self._http.get(PATH))
            await asyncio.sleep(0.02)

    def _count(self, answer: httpx.Response) -> None:
        error = answer.json().get("error")
        self.told[(answer.status_code, error and error["code"])] += 1

    async def _draw(self) -> None:
        while True:
            answer = await self._http.post(PATH, json=BODY)
            self._count(answer)
            if answer.status_code == 200:
                self.made.append(answer.json()["metadata"]["id"])
            await asyncio.sleep(0.02)

    async def draws(self, images: int = 2 * CALLERS) -> None:
        """Wait for so many more images."""
        enough = len(self.made) + images
        async with asyncio.timeout(BACK_WITHIN_S):
            while len(self.made) < enough:
                await asyncio.sleep(0.02)
                assert not any(caller.done() for caller in self._callers), "a caller got no answer"


def log_of(data_dir: Path) -> Path:
    return data_dir.parent / "gateway.log"


@asynccontextmanager
async def serving(data_dir: Path) -> AsyncIterator[str]:
    """`imagegate serve` in a process of its own, which shares the embedded server of `data_dir`."""
    port = free_port()
    environment = os.environ | {
        "IMAGEGATE_DATA_DIR": str(data_dir),
        "IMAGEGATE_WORKER_LEASE_S": "3",
        "IMAGEGATE_HEARTBEAT_S": "1",
        "IMAGEGATE_SWEEP_INTERVAL_S": "1",
        "IMAGEGATE_DATABASE_TIMEOUT_S": "2",
    }
    argv = [sys.executable, "-m", "imagegate", "serve", "--port", str(port)]
    with log_of(data_dir).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *argv, env=environment, cwd=data_dir.parent, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as http:
            while not await is_ready(http, url):
                assert process.returncode is None, "the gateway ended at its start"
                await asyncio.sleep(0.05)
        yield url
        assert process.returncode is None, "the gateway ended by itself"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def open_customer(registry: Registry) -> str:
    async with registry.engine.begin() as tx:
        account = await keys.create_account(tx, "a customer")
        await wallets.create_wallets(tx, account)
        await wallets.top_up(
            tx, account, "test", 10**9, reason="a test", actor="tests", funding=wallets.Funding()
        )
        pepper = registry.keyring.key_pepper
        return (await keys.create_key(tx, pepper, account, "test", keys.Labels(), None))[1]


A_BACKEND = "SELECT min(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
"""A process that serves a connection of somebody else."""


async def kill(pid: int) -> None:
    """What is drawn after this is drawn by a server that was started again."""
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(BACK_WITHIN_S):
        while is_alive(pid):
            await asyncio.sleep(0.005)


async def rows(engine: AsyncEngine, query: str) -> list[int]:
    """One row of numbers; tried again while the connections of before the crash are thrown away."""
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            try:
                async with engine.connect() as connection:
                    return list((await connection.execute(text(query))).one())
            except (DBAPIError, OSError):
                await asyncio.sleep(0.05)


async def everything_is_settled(engine: AsyncEngine, made: list[str]) -> None:
    """Nothing is held any more, every image that was handed out is paid for, and the ledger is clean."""
    async with asyncio.timeout(BACK_WITHIN_S):
        while await rows(engine, "SELECT sum(held_tokens) FROM wallets") != [0]:
            await asyncio.sleep(0.1)
    captures, images = await rows(
        engine,
        "SELECT (SELECT count(*) FROM transfers WHERE kind = 'capture'), (SELECT count(*) FROM images)",
    )
    assert captures == images >= len(set(made)) == len(made)
    async with snapshot(engine) as connection:
        report = await verify(connection)
    assert report.ok, report.to_json()


async def test_a_killed_database_comes_back_under_load_and_callers_are_only_told_to_wait(
    folder: Path,
) -> None:
    """The test shares the server, watches it as the gateway does, and loses its own connections as well."""
    data_dir = folder / "data"
    async with open_registry(Settings(data_dir=data_dir)) as registry, serving(data_dir) as url:
        async with Load(url, await open_customer(registry)) as load:
            await load.draws()
            postmaster = server_pid(data_dir)
            assert postmaster
            await kill(postmaster)
            await load.draws()
            await kill((await rows(registry.engine, A_BACKEND))[0])
            await load.draws()

            assert server_pid(data_dir) not in (None, postmaster)
            assert set(load.told) <= MAY_BE_TOLD, log_of(data_dir).read_text()[-8000:]
            assert load.told[(503, "billing_unavailable")] + load.told[(503, "settlement_pending")] > 0
        await everything_is_settled(registry.engine, load.made)


async def test_of_two_watchers_one_starts_the_server_and_neither_stops_it(made: Path) -> None:
    with EmbeddedPostgres(made, lambda line: None) as one, EmbeddedPostgres(made, lambda line: None) as other:
        pid = server_pid(made)
        assert pid is not None
        async with watching(one), watching(other):
            os.kill(pid, signal.SIGKILL)
            until = monotonic() + BACK_WITHIN_S
            while server_pid(made) in (None, pid) or not (one.is_running() and other.is_running()):
                assert monotonic() < until
                await asyncio.sleep(0.02)
            second = server_pid(made)
        assert await asyncio.to_thread(ask, one.app_url, "SELECT 1") == "1"

    assert second is not None
    assert server_pid(made) is None


async def test_a_server_that_does_not_start_is_tried_again_until_it_does(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = made / "pg" / "postgresql.conf"
    sound = configuration.read_text()
    with EmbeddedPostgres(made, lambda line: None) as server:
        pid = server_pid(made)
        assert pid is not None
        try:
            configuration.write_text(sound + "max_connections = many\n")
            async with watching(server), asyncio.timeout(BACK_WITHIN_S):
                os.kill(pid, signal.SIGKILL)
                while "database_does_not_start" not in capsys.readouterr().out:
                    await asyncio.sleep(0.02)
                configuration.write_text(sound)
                while "database_back" not in capsys.readouterr().out:
                    await asyncio.sleep(0.02)
        finally:
            configuration.write_text(sound)
        assert await asyncio.to_thread(ask, server.app_url, "SELECT 1") == "1"
