"""Gateways that die, each with a caller of its own, and one successor of them all."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import open_engine, snapshot
from imagegate.ledger.verify import verify
from imagegate.registry import open_registry
from imagegate.settings import Settings
from tests.conftest import Account, open_account
from tests.db.programs import server_pid
from tests.fake_provider import KEY, FakeProvider
from tests.line import crash_adapter
from tests.line.crash_callers import Asking, Caller, Front, Told, asks_for_a_job
from tests.line.crash_processes import Nursery, Process
from tests.line.crash_proofs import HALF_ANSWER, IMAGES, Facts, Point, contradictions

BODY = {"size": "1024x1024", "n": IMAGES, "response_format": "b64_json"}
DRAWN = {**BODY, "model": "gpt-image-2.5-flare", "quality": "low"}
POLLED = {**BODY, "model": crash_adapter.MODEL}
DEATH_S = 60.0
SWEPT_S = 60.0
STOCK = 20


@dataclass
class Place:
    """What gateways share. cluster: the data directory of the PostgreSQL that dies with them; None: it lives on."""

    nursery: Nursery
    environment: dict[str, str]
    settings: Settings
    owner_url: str
    fake: FakeProvider
    cluster: Path | None = None
    accounts: list[Account] = field(default_factory=list)

    async def start(self, failpoint: str | None = None, *, jobs: bool = True) -> Process:
        """jobs: whether it takes up async jobs, those that others have accepted among them."""
        armed = {"IMAGEGATE_FAILPOINT": f"{failpoint}:sigkill", "IMAGEGATE_ALLOW_FAILPOINTS": "1"}
        places = {} if jobs else {"IMAGEGATE_JOB_CONCURRENCY": "0"}
        environment = {**self.environment, **(armed if failpoint else {}), **places}
        return await self.nursery.start("serve", "--port", "0", "--json", environment=environment)

    async def strike(self) -> None:
        """What `pg_ctl stop -m immediate` does."""
        if self.cluster is None:
            return
        postmaster = server_pid(self.cluster)
        assert postmaster, "PostgreSQL was gone before it was stopped"
        os.kill(postmaster, signal.SIGQUIT)
        async with asyncio.timeout(DEATH_S):
            while server_pid(self.cluster):
                await asyncio.sleep(0.005)

    async def take_accounts(self, number: int) -> list[Account]:
        """So many that have asked for nothing yet. Made in stock: an embedded server is started for it."""
        if len(self.accounts) < number:
            async with open_registry(self.settings) as registry:
                self.accounts += [
                    await open_account(registry, registry.engine) for _ in range(max(number, STOCK))
                ]
        taken, self.accounts = self.accounts[:number], self.accounts[number:]
        return taken


def environment_for(folder: Path, fake: FakeProvider) -> dict[str, str]:
    catalogue = folder / "catalogue.yaml"
    catalogue.write_text(crash_adapter.catalogue(fake))
    return {
        "IMAGEGATE_CATALOGUE_FILE": str(catalogue),
        "IMAGEGATE_OPENAI_BASE_URL": fake.base_url,
        "IMAGEGATE_OPENAI_API_KEY": KEY,
        f"IMAGEGATE_{crash_adapter.NAME.upper()}_API_KEY": KEY,
        "IMAGEGATE_WORKER_LEASE_S": "3",
        "IMAGEGATE_HEARTBEAT_S": "1",
        "IMAGEGATE_SWEEP_INTERVAL_S": "1",
        "IMAGEGATE_DATABASE_POOL_SIZE": "2",
        "IMAGEGATE_DRAIN_S": "5",
    }


@dataclass
class Case:
    """One logical call of an account of its own, and the gateway that dies under it at `point`."""

    point: Point
    caller: Caller
    account: Account
    gateway: Process
    prompt: str = field(default_factory=lambda: f"a crash {uuid4().hex}")
    told: list[Told] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.point.label}, {self.caller.__name__}"

    def front(self) -> Front:
        cut = self.point is HALF_ANSWER
        return Front((lambda: self.gateway.signal(signal.SIGKILL)) if cut else None)

    def asking(self, url: str) -> Asking:
        body = POLLED if self.point.polled else DRAWN
        return Asking(url, self.account.key, {**body, "prompt": self.prompt})


async def crash(place: Place, which: Sequence[tuple[Point, Caller]]) -> list[str]:
    """Every case at once: its gateway dies, a successor of all takes over. Returns what does not hold then.

    At most one of the cases is a job's: another gateway would take it up, and die instead.
    """
    accounts = await place.take_accounts(len(which))
    armed = [
        (None if point is HALF_ANSWER else point.name, caller is asks_for_a_job) for point, caller in which
    ]
    dying = await asyncio.gather(*(place.start(failpoint, jobs=jobs) for failpoint, jobs in armed))
    cases = [Case(*case, *whose) for case, *whose in zip(which, accounts, dying, strict=True)]
    async with AsyncExitStack() as stack:
        fronts = [await stack.enter_async_context(case.front()) for case in cases]
        for case, front in zip(cases, fronts, strict=True):
            front.lead_to((await case.gateway.answer())["url"])
        asking = [case.asking(front.url) for case, front in zip(cases, fronts, strict=True)]
        calls = [asyncio.create_task(case.caller(one)) for case, one in zip(cases, asking, strict=True)]
        await asyncio.gather(*(dies(case, front) for case, front in zip(cases, fronts, strict=True)))
        await place.strike()
        for heir in {point.heir for point, _ in which if point.heir}:
            await (await place.start(heir)).ended()
            await place.strike()
        async with succeeded(place, fronts) as engine:
            await until_settled(engine, cases)
            for one in asking:
                one.swept.set()
            for case, call in zip(cases, calls, strict=True):
                case.told = await call
            await until_settled(engine, cases)
            return [says for case in cases for says in await judge(engine, place, case)]


async def dies(case: Case, front: Front) -> None:
    try:
        await case.gateway.ended(DEATH_S)
    except TimeoutError:
        raise AssertionError(f"{case.name}: the gateway lives on") from None
    front.lead_to(None)


@asynccontextmanager
async def succeeded(place: Place, fronts: Sequence[Front]) -> AsyncIterator[AsyncEngine]:
    """A gateway without a failpoint takes over; gives the owner's connections. The ledger is proved at the end."""
    process = await place.start()
    url = (await process.answer())["url"]
    for front in fronts:
        front.lead_to(url)
    engine = open_engine(place.owner_url, place.settings, statement_timeout_s=60)
    try:
        yield engine
        async with snapshot(engine) as connection:
            report = await verify(connection)
        assert report.ok, report.to_json()
    finally:
        await engine.dispose()
        process.signal(signal.SIGTERM)
        await process.ended()


OPEN = text(
    "SELECT count(*) FROM generations "
    "WHERE account_id = ANY(:ids) AND state IN ('queued', 'running', 'in_doubt')"
)


async def until_settled(engine: AsyncEngine, cases: Sequence[Case]) -> None:
    ids = [case.account.id for case in cases]
    async with asyncio.timeout(SWEPT_S), engine.connect() as connection:
        while (await connection.execute(OPEN, {"ids": ids})).scalar_one():
            await asyncio.sleep(0.1)


async def judge(engine: AsyncEngine, place: Place, case: Case) -> list[str]:
    facts = await look(engine, place, case)
    wrong = contradictions(case.point, case.caller, case.told, facts)
    return [f"{case.name}: not so: {says}" for says in wrong]


async def look(engine: AsyncEngine, place: Place, case: Case) -> Facts:
    of = "WHERE account_id = :id"

    async def rows(query: str) -> list[Any]:
        async with engine.connect() as connection:
            return list((await connection.execute(text(query), {"id": case.account.id})).all())

    (wallet,) = await rows(f"SELECT posted_tokens, held_tokens FROM wallets {of} AND env = 'live'")
    return Facts(
        generations=await rows(f"SELECT id, state, outcome, epoch FROM generations {of} ORDER BY id"),
        captures=await rows(f"SELECT generation_id, tokens FROM transfers {of} AND kind = 'capture'"),
        images=await rows(f"SELECT generation_id, object, sha256 FROM images {of} ORDER BY 1, idx"),
        attempts=await rows(f"SELECT generation_id, epoch, class, at_risk_usd FROM attempts {of}"),
        posted_tokens=wallet.posted_tokens,
        held_tokens=wallet.held_tokens,
        objects=stored(place.settings.data_dir / "images", case.account.id),
        calls=sum(request.body["prompt"] == case.prompt for request in place.fake.requests),
    )


def stored(root: Path, account: UUID) -> dict[str, str]:
    """Every object of the account, with the checksum of its bytes."""
    files = [path for path in (root / account.hex).rglob("*") if path.is_file()]
    names = [f"{account.hex}/live/{path.name.replace('.', '/', 2)}" for path in files]
    return dict(zip(names, (hashlib.sha256(path.read_bytes()).hexdigest() for path in files), strict=True))
