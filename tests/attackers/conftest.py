"""`imagegate serve` as it is installed: a process of its own with a database of its own, and whatever it says kept."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import pytest
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import operators
from imagegate.db.base import open_engine, snapshot
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.identity.audit import Actor
from imagegate.identity.operators import SCOPES
from imagegate.ledger.verify import verify
from imagegate.registry import open_registry
from imagegate.settings import Settings
from tests.conftest import Account, open_account
from tests.fake_provider import FakeProvider
from tests.line.crash_processes import Process, kept

MASTER = "cNryM4sterQ7vZ2pLx9TgB5wKd8RjE3hUa6YfS1o"
PROVIDER_KEY = "sk-canary-provider-9f2c71d04ab8"


class Collector(BaseHTTPRequestHandler):
    """Takes the spans, as a collector of OpenTelemetry does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((body, self.headers.get("content-encoding", "")))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        return None


@dataclass(frozen=True)
class Served:
    """url: where it listens. said: what it wrote so far. spans: bodies as they were sent, and their encoding."""

    url: str
    process: Process
    engine: AsyncEngine
    account: Account
    operator_key: str
    database_url: str
    fake: FakeProvider
    spans: list[tuple[bytes, str]] = field(repr=False)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def said(self) -> str:
        return self.process.out.read_text() + self.process.err.read_text()

    def client(self, key: str | None = None) -> AsyncClient:
        return AsyncClient(base_url=self.url, headers={"x-api-key": key or self.account.key}, timeout=30)


@pytest.fixture(scope="session")
async def served(postgres: EmbeddedPostgres, data_dir: Path) -> AsyncIterator[Served]:
    """Its ledger is proved when the last test has done with it."""
    owner, app = postgres.create_database("attackers")
    upgrade(owner, lambda line: None)
    settings = Settings(secret=SecretStr(MASTER), data_dir=data_dir / "attacked", database_url=SecretStr(app))
    engine = open_engine(owner, settings, statement_timeout_s=60)
    async with open_registry(settings) as registry:
        account = await open_account(registry, engine)
        async with engine.begin() as tx:
            pepper, actor = registry.keyring.key_pepper, Actor("cli:tests", "a test")
            _, operator_key = await operators.create_operator(tx, pepper, "the boss", SCOPES, None, actor)
    with (
        TemporaryDirectory(prefix="igattack") as folder,
        ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector,
    ):
        collector.taken = []  # type: ignore[attr-defined]
        Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        async with FakeProvider(key=PROVIDER_KEY) as fake:
            environment = {
                "IMAGEGATE_DATABASE_URL": app,
                "IMAGEGATE_SECRET": MASTER,
                "IMAGEGATE_DATA_DIR": str(data_dir / "attacked"),
                "IMAGEGATE_OPENAI_BASE_URL": fake.base_url,
                "IMAGEGATE_OPENAI_API_KEY": PROVIDER_KEY,
                "IMAGEGATE_LOG_LEVEL": "DEBUG",
                "IMAGEGATE_DRAIN_S": "2",
                "IMAGEGATE_DEADLINE_S": "20",
                "IMAGEGATE_OTEL_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            }
            process = await started(Path(folder), environment)
            try:
                url = (await process.answer())["url"]
                yield Served(url, process, engine, account, operator_key, app, fake, collector.taken)  # type: ignore[attr-defined]
            finally:
                process.signal(signal.SIGKILL)
                collector.shutdown()
    async with snapshot(engine) as connection:
        report = await verify(connection)
    await engine.dispose()
    assert report.ok, json.dumps(report.to_json())


async def started(folder: Path, environment: dict[str, str]) -> Process:
    out, err = folder / "out", folder / "err"
    with out.open("wb") as to_out, err.open("wb") as to_err:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "imagegate", "serve", "--port", "0", "--json"),
            cwd=folder,
            env={**kept(), **environment},
            stdout=to_out,
            stderr=to_err,
        )
    return Process(child.pid, out, err)
