"""One embedded PostgreSQL, one gateway and one fake provider for the whole run; an account of its own for each test.

Every test that spends through the gateway ends with the proof of the ledger.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import uvicorn
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.cli.gateway import configured
from imagegate.db.base import open_engine, snapshot
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.identity import keys
from imagegate.ledger import wallets
from imagegate.ledger.verify import verify
from imagegate.services import Services, open_services
from imagegate.settings import PREFIX, ProviderSettings, Settings
from tests.certificates import certificate_for
from tests.db.programs import ask
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import Images

SECRET = "MnVPpxuSbRM2S0jTIrRwFwvjM7x9a4QH3y1jWd5n"
LIVE_TOKENS = 1_000_000
TEST_TOKENS = 100_000_000


@dataclass(frozen=True)
class Urls:
    app: str
    owner: str


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes, each with a database server of its own, for the whole; none beside for whoever names files."""
    return 0 if config.args_source is config.ArgsSource.ARGS else 2


@pytest.fixture(scope="session", autouse=True)
def deaf_to_settings() -> Iterator[None]:
    """Whoever runs the tests may have a gateway of their own: what is set for it must not be read here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """Short, so that the socket fits, and reachable for the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="ig", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session", autouse=True)
def one_certificate(data_dir: Path) -> Iterator[None]:
    """To be trusted in place of the usual hundreds, which every HTTP client that opens reads for 40 ms.

    Nobody whom the tests speak to has one of those; a test of TLS names its own.
    """
    folder = data_dir / "trusted"
    folder.mkdir()
    certificate_for("nobody.test", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
        yield


@pytest.fixture(scope="session")
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(data_dir, lambda line: None) as server:
        without_fsync(server)
        yield server


def without_fsync(server: EmbeddedPostgres) -> None:
    """Commits do not wait for the disk. What that loses, only a machine that loses its power can lose."""
    for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
        ask(server.owner_url, statement)


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> Urls:
    """A migrated database."""
    owner, app = postgres.create_database("tests")
    upgrade(owner, lambda line: None)
    return Urls(app, owner)


@pytest.fixture(scope="session")
def settings(
    data_dir: Path, urls: Urls, fake_server: FakeProvider, compatible_server: FakeProvider
) -> Settings:
    return Settings(
        secret=SecretStr(SECRET),
        data_dir=data_dir / "gateway",
        database_url=SecretStr(urls.app),
        deadline_s=20,
        drain_s=5,
        expiry_interval_s=86_400,  # the tests take its turns themselves
        shed_late_ms=60_000,  # a machine that is busy with something else must not shed
        providers={
            "openai": ProviderSettings(fake_server.base_url, SecretStr(KEY)),
            "openai_compatible": ProviderSettings(
                compatible_server.base_url, SecretStr(KEY), frozenset({f"127.0.0.1:{compatible_server.port}"})
            ),
        },
    )


@pytest.fixture(scope="session")
async def engine(urls: Urls, settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The owner's connections: for looking at rows and for what no gateway may do."""
    opened = open_engine(urls.owner, settings, statement_timeout_s=60)
    yield opened
    await opened.dispose()


@pytest.fixture(scope="session")
async def fake_server() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="session")
async def compatible_server() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(compatible=True) as fake:
        yield fake


def fresh(fake: FakeProvider) -> FakeProvider:
    fake.requests.clear()
    fake.fetched.clear()
    fake.violations.clear()
    fake.forget()
    fake.default = Images()
    return fake


@pytest.fixture
def fake(fake_server: FakeProvider) -> FakeProvider:
    return fresh(fake_server)


@pytest.fixture(scope="session")
async def opened(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings) as services:
        yield services


@pytest.fixture
async def services(opened: Services, engine: AsyncEngine) -> AsyncIterator[Services]:
    """The gateway's insides. The ledger is proved after each test that asks for them."""
    opened.health.forget()  # what one test makes of a provider must not rest it for the next
    yield opened
    async with snapshot(engine) as connection:
        report = await verify(connection)
    assert report.ok, report.violations


@asynccontextmanager
async def listening(services: Services) -> AsyncIterator[str]:
    """A gateway on loopback, as `serve` starts it; gives its base URL."""
    config = configured(services)
    config.host, config.port = "127.0.0.1", 0
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
        assert not serving.done(), "the server ended at once"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(scope="session")
async def base_url(opened: Services) -> AsyncIterator[str]:
    async with listening(opened) as url:
        yield url


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Services], Awaitable[str]]]:
    """Start further gateways, on changed services."""
    async with AsyncExitStack() as stack:

        async def start(services: Services) -> str:
            return await stack.enter_async_context(listening(services))

        yield start


@dataclass(frozen=True)
class Account:
    """A customer with a live and a test key. `balance` gives (posted, held) of a wallet."""

    id: UUID
    name: str
    key: str
    test_key: str
    engine: AsyncEngine

    async def balance(self, env: str = "live") -> tuple[int, int]:
        async with self.engine.connect() as connection:
            wallet = await wallets.get_wallet(connection, self.id, env)
        return wallet.posted_tokens, wallet.held_tokens


async def open_account(services: Services, engine: AsyncEngine, live_tokens: int = LIVE_TOKENS) -> Account:
    name, pepper = f"customer-{uuid4().hex[:12]}", services.keyring.key_pepper
    async with engine.begin() as tx:
        account_id = await keys.create_account(tx, name)
        await wallets.create_wallets(tx, account_id)
        for env, tokens in (("live", live_tokens), ("test", TEST_TOKENS)):
            if tokens:
                await wallets.top_up(
                    tx, account_id, env, tokens, reason="a test", actor="tests", funding=wallets.Funding()
                )
        made = [
            await keys.create_key(tx, pepper, account_id, env, keys.Labels(), None)
            for env in ("live", "test")
        ]
    return Account(account_id, name, made[0][1], made[1][1], engine)


@pytest.fixture
async def account(services: Services, engine: AsyncEngine) -> Account:
    return await open_account(services, engine)


@pytest.fixture
async def client(account: Account, base_url: str) -> AsyncIterator[AsyncClient]:
    """Speaks with the account's live key."""
    async with AsyncClient(
        base_url=base_url, headers={"authorization": f"Bearer {account.key}"}, timeout=30
    ) as http:
        yield http


@pytest.fixture
async def test_client(account: Account, base_url: str) -> AsyncIterator[AsyncClient]:
    """Speaks with the account's test key."""
    headers = {"authorization": f"Bearer {account.test_key}"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as http:
        yield http


Speak = Callable[[keys.Labels], AbstractAsyncContextManager[AsyncClient]]


@pytest.fixture
def speaking(services: Services, account: Account, engine: AsyncEngine, base_url: str) -> Speak:
    """A client with a live key of its own that carries these labels."""

    @asynccontextmanager
    async def speak(labels: keys.Labels) -> AsyncIterator[AsyncClient]:
        async with engine.begin() as tx:
            pepper = services.keyring.key_pepper
            _, key = await keys.create_key(tx, pepper, account.id, "live", labels, None)
        headers = {"authorization": f"Bearer {key}"}
        async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as http:
            yield http

    return speak
