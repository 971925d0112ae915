"""kill −9 anywhere on the line: no money is lost, and no image that was made durable."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, SECRET, Account, Urls, open_account
from tests.fake_provider import KEY, FakeProvider

PATH = "/v1/images/generations"
BODY = {"prompt": "a crash", "model": "gpt-image-2.5-flare", "quality": "low", "size": "1024x1024", "n": 2}
HELD, PAID = 2 * 5_880, 2 * 5_880

CRASHES = [
    ("after_admission", None, 0),
    ("after_hold", "voided", 0),
    ("after_answer", "voided", 0),
    ("after_store", "captured", PAID),
    ("before_settle", "captured", PAID),
    ("after_settle", "captured", PAID),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def gateway(
    services: Services, urls: Urls, fake: FakeProvider, failpoint: str | None = None
) -> AsyncIterator[str]:
    """A gateway in a process of its own, on the tests' database and store."""
    port = free_port()
    environment = os.environ | {
        "IMAGEGATE_DATABASE_URL": urls.app,
        "IMAGEGATE_SECRET": SECRET,
        "IMAGEGATE_DATA_DIR": str(services.settings.data_dir),
        "IMAGEGATE_OPENAI_BASE_URL": fake.base_url,
        "IMAGEGATE_OPENAI_API_KEY": KEY,
        "IMAGEGATE_WORKER_LEASE_S": "3",
        "IMAGEGATE_HEARTBEAT_S": "1",
        "IMAGEGATE_SWEEP_INTERVAL_S": "1",
    }
    if failpoint:
        environment |= {"IMAGEGATE_FAILPOINT": f"{failpoint}:sigkill", "IMAGEGATE_ALLOW_FAILPOINTS": "1"}
    argv = [sys.executable, "-m", "imagegate", "serve", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment, cwd=Path(services.settings.data_dir), stderr=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as http:
            while not await is_ready(http, url):
                assert process.returncode is None, "the gateway ended at its start"
                await asyncio.sleep(0.05)
        yield url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def states(engine: AsyncEngine, account: Account) -> list[tuple[str, int]]:
    query = text("SELECT state, charged_tokens FROM generations WHERE account_id = :id")
    async with engine.connect() as connection:
        return [tuple(row) for row in (await connection.execute(query, {"id": account.id})).all()]


async def test_a_killed_gateway_loses_no_money_and_no_stored_image(
    services: Services, engine: AsyncEngine, urls: Urls, fake: FakeProvider
) -> None:
    accounts = {}
    for failpoint, _, _ in CRASHES:
        accounts[failpoint] = account = await open_account(services, engine)
        async with gateway(services, urls, fake, failpoint) as url, httpx.AsyncClient(timeout=30) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.post(f"{url}{PATH}", json=BODY, headers={"x-api-key": account.key})

    async with gateway(services, urls, fake) as url, asyncio.timeout(30):
        for failpoint, state, charged in CRASHES:
            expected = [] if state is None else [(state, charged)]
            while await states(engine, accounts[failpoint]) != expected:
                await asyncio.sleep(0.1)
            assert await accounts[failpoint].balance() == (LIVE_TOKENS - charged, 0)
        await the_rescued_images_can_be_fetched(url, accounts["before_settle"])


async def the_rescued_images_can_be_fetched(url: str, account: Account) -> None:
    query = text("SELECT id FROM generations WHERE account_id = :id")
    async with account.engine.connect() as connection:
        generation_id = (await connection.execute(query, {"id": account.id})).scalar_one()
    async with httpx.AsyncClient(headers={"x-api-key": account.key}, timeout=30) as http:
        fetched = (await http.get(f"{url}{PATH}/gen_{generation_id.hex}")).json()
        pictures = [(await http.get(entry["url"])).status_code for entry in fetched["data"]]
    assert (fetched["status"], pictures) == ("completed", [200, 200])


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
