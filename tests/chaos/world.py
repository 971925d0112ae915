"""The place: one PostgreSQL, two gateways in processes of their own, three fake providers, twenty accounts."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.catalogue import prices
from imagegate.db.base import open_engine
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.db.watch import watching
from imagegate.identity import keys
from imagegate.ledger import wallets
from imagegate.registry import Registry, open_registry
from imagegate.settings import Settings
from tests.chaos.providers import FIRST_TOKENS, NAMES, PAINTED_MODEL, POLLED, Habits, Invoice, catalogue
from tests.conftest import SECRET, without_fsync
from tests.db.programs import server_pid
from tests.fake_provider import KEY, FakeProvider
from tests.fault_proxy import Fault, FaultProxy
from tests.line.crash_processes import Nursery, Process
from tests.line.test_crash import free_port

ACCOUNTS = 20
FIRST_WALLET_TOKENS = 12 * FIRST_TOKENS
OUTAGE = (DBAPIError, OSError, TimeoutError)
SETTINGS = {
    "IMAGEGATE_DEADLINE_S": "6",
    "IMAGEGATE_DRAIN_S": "5",
    "IMAGEGATE_WORKER_LEASE_S": "3",
    "IMAGEGATE_HEARTBEAT_S": "1",
    "IMAGEGATE_SWEEP_INTERVAL_S": "1",
    "IMAGEGATE_DATABASE_TIMEOUT_S": "2",
    "IMAGEGATE_DATABASE_POOL_SIZE": "4",
    "IMAGEGATE_SHED_LATE_MS": "5000",
    "IMAGEGATE_LOG_LEVEL": "WARNING",
}


@dataclass
class Replica:
    """A gateway that dies and is started again at the same address."""

    nursery: Nursery
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Waits until it answers. While the database is away it ends at once: then it is started again."""
        async with asyncio.timeout(40):
            while True:
                args = ("serve", "--port", str(self.port), "--json")
                self.process = await self.nursery.start(*args, environment=self.environment)
                try:
                    await self.process.answer()
                    return
                except AssertionError:
                    await asyncio.sleep(0.3)

    async def end(self, number: int) -> None:
        if self.process is not None:
            self.process.signal(number)
            await self.process.ended(15)


@dataclass
class Place:
    """funded: what was paid into each account's wallet, as whoever paid knows."""

    seed: int
    server: EmbeddedPostgres
    data_dir: Path
    engine: AsyncEngine
    proxy: FaultProxy
    replicas: list[Replica]
    fakes: dict[str, FakeProvider]
    habits: dict[str, Habits]
    invoice: Invoice
    chance: random.Random
    accounts: dict[UUID, str] = field(default_factory=dict)
    funded: dict[UUID, int] = field(default_factory=dict)

    async def written(self, work: Any) -> None:
        """Do it in one transaction, again until the database is there. It must be such that twice is once."""
        while True:
            try:
                async with self.engine.begin() as tx:
                    await work(tx)
                return
            except OUTAGE:
                await asyncio.sleep(0.2)

    async def fund(self, account: UUID, tokens: int, reference: str) -> None:
        async def pay(tx: AsyncConnection) -> None:
            funding = wallets.Funding(source="bank", external_ref=reference)
            more = {"reason": "chaos", "actor": "chaos", "funding": funding}
            await wallets.top_up(tx, account, "live", tokens, **more)

        await self.written(pay)
        self.funded[account] = self.funded.get(account, 0) + tokens

    async def change_price(self) -> None:
        tokens = self.chance.randrange(3_000, 9_000)

        async def change(tx: AsyncConnection) -> None:
            await prices.set_price(tx, PAINTED_MODEL, None, None, tokens, "chaos", "chaos")

        await self.written(change)

    async def crash_database(self, number: int) -> None:
        """Whoever watches the server starts it again."""
        pid = server_pid(self.data_dir)
        if pid is not None:
            os.kill(pid, number)

    async def heal(self) -> None:
        self.proxy.heal()
        for habits in self.habits.values():
            habits.mood = "serve"
        for replica in self.replicas:
            if replica.process is None or not replica.process.is_alive():
                await replica.start()


@asynccontextmanager
async def open_place(folder: Path, seed: int) -> AsyncIterator[Place]:
    """folder: short, and open to the user that PostgreSQL runs as."""
    async with AsyncExitStack() as stack:
        (folder / "logs").mkdir()
        nursery = await stack.enter_async_context(Nursery(folder / "logs"))  # imports while the rest is made
        chance, invoice, fakes = random.Random(seed), Invoice(), {}
        for name in NAMES:
            fakes[name] = await stack.enter_async_context(FakeProvider(compatible=True))
        habits = {name: Habits(seed, name, invoice, fake.pages) for name, fake in fakes.items()}
        for name, fake in fakes.items():
            fake.default = habits[name]
        server = stack.enter_context(EmbeddedPostgres(folder / "pg", lambda line: None))
        without_fsync(server)
        owner, app = server.create_database("chaos")
        await asyncio.to_thread(upgrade, owner, lambda line: None)
        await stack.enter_async_context(watching(server))
        proxy = await stack.enter_async_context(FaultProxy(Path(str(make_url(app).query["host"]))))
        environment = environment_for(folder, fakes)
        settings = Settings(
            secret=SecretStr(SECRET),
            data_dir=folder / "data",
            database_url=SecretStr(app),
            catalogue_file=Path(environment["IMAGEGATE_CATALOGUE_FILE"]),
        )
        routes = (app, proxy.url(app))
        replicas = [Replica(nursery, environment | {"IMAGEGATE_DATABASE_URL": url}) for url in routes]
        engine = open_engine(owner, settings, statement_timeout_s=60)
        stack.push_async_callback(engine.dispose)
        place = Place(seed, server, folder / "pg", engine, proxy, replicas, fakes, habits, invoice, chance)
        async with open_registry(settings) as registry:
            await open_accounts(place, registry)
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield place


def environment_for(folder: Path, fakes: dict[str, FakeProvider]) -> dict[str, str]:
    file = folder / "catalogue.yaml"
    file.write_text(catalogue(fakes))
    names = (*NAMES, POLLED)
    return {
        **SETTINGS,
        "IMAGEGATE_SECRET": SECRET,
        "IMAGEGATE_DATA_DIR": str(folder / "data"),
        "IMAGEGATE_CATALOGUE_FILE": str(file),
        **{f"IMAGEGATE_{name.upper()}_API_KEY": KEY for name in names},
    }


async def open_accounts(place: Place, registry: Registry) -> None:
    for number in range(ACCOUNTS):
        async with place.engine.begin() as tx:
            account = await keys.create_account(tx, f"chaos-{number}")
            await wallets.create_wallets(tx, account)
            pepper = registry.keyring.key_pepper
            _, key = await keys.create_key(tx, pepper, account, "live", keys.Labels(), None)
        place.accounts[account] = key
        await place.fund(account, FIRST_WALLET_TOKENS, f"first-{number}")


async def strike_on(place: Place, fault: str) -> None:
    """One fault, and its end. The network is the second gateway's, to the database."""
    chance, proxy = place.chance, place.proxy
    match fault:
        case "database":
            await place.crash_database(chance.choice((signal.SIGKILL, signal.SIGQUIT)))
        case "kill":
            replica = chance.choice(place.replicas)
            await replica.end(signal.SIGKILL)
            await asyncio.sleep(chance.uniform(0.2, 2))
            await replica.start()
        case "replace":
            replica = chance.choice(place.replicas)
            await replica.end(signal.SIGTERM)
            await replica.start()
        case "network":
            proxy.strike(chance.choice((Fault.RESET, Fault.BLACKHOLE, Fault.DELAY)))
            await asyncio.sleep(chance.uniform(0.5, 3))
            proxy.heal()
        case "storm":
            habits = place.habits[chance.choice(NAMES)]
            habits.mood = chance.choice(("busy", "hang", "garbage", "reset"))
            await asyncio.sleep(chance.uniform(0.5, 3))
            habits.mood = None


FAULTS = ("database", "kill", "network", "storm", "replace", "database", "storm")
