"""The other side of the machine: PostgreSQL, workers that come and go, and what an operator does, on a loop of its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from pydantic_core import from_json
from sqlalchemy import text

from imagegate.admin import keys as admin_keys
from imagegate.admin import limits
from imagegate.catalogue import prices
from imagegate.catalogue.catalogue import load_catalogue
from imagegate.db.base import open_engine, snapshot
from imagegate.errors import BudgetExceeded, Conflict, ImagegateError, InsufficientFunds, NotFound, Unauthenticated
from imagegate.identity import keys
from imagegate.identity.audit import Actor
from imagegate.identity.limit_rows import Scope
from imagegate.ids import new_id
from imagegate.journal.connection import LaneConnection
from imagegate.journal.items import Existing, Fenced, Held, Open, Reopened, Settled
from imagegate.journal.journal import Journal
from imagegate.journal.memory import Memory
from imagegate.ledger import wallets
from imagegate.ledger.refunds import refund
from imagegate.ledger.verify import verify
from imagegate.settings import Settings
from tests.journal.machine_model import Generation, Model, Said

T = TypeVar("T")
BY = Actor("tests", "a machine")
MODEL = "imagegate/sandbox"
TTL_S = 3600
IMAGE = {"idx": 0, "object": "o", "sha256": "\\x00", "bytes": 1, "width_px": 1, "height_px": 1}
IMAGE |= {"mime": "image/png", "keep_h": 24}
ATTEMPT = {"seq": 0, "provider": "p", "offering": "o", "class": "DELIVERED", "images": 1, "ms": 1}
ATTEMPT |= {"started_at": "2026-01-01T00:00:00Z"}

# Budgets move in two steps, so that no row takes a day that another one still has.
MIDNIGHT = (
    """
    UPDATE generations SET abandoned_at = abandoned_at - interval '1 day',
        created_at = CASE WHEN created_at < date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
            THEN created_at - interval '1 day' ELSE least(now() - interval '16 minutes',
                date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '1 second') END,
        counted = CASE WHEN jsonb_typeof(counted) = 'array' THEN (
            SELECT jsonb_agg(jsonb_build_array(c -> 0, c -> 1, ((c ->> 2)::date - 1)::text))
            FROM jsonb_array_elements(counted) AS c) END
    WHERE account_id = $1
    """,
    "UPDATE budgets SET period = 'before ' || ((period)::date - 1)::text WHERE account_id = $1",
    "UPDATE budgets SET period = substr(period, 8) WHERE account_id = $1",
)
GENERATIONS = text(
    "SELECT id, state, outcome, epoch, hold_tokens, charged_tokens, claims, abandoned_at IS NOT NULL, "
    "idempotency_key, price_version, worker_id FROM generations WHERE account_id = :id"
)
BUDGETS = text(
    "SELECT scope, scope_id, period, spent_tokens, held_tokens FROM budgets WHERE account_id = :id"
)
MOVED = text("SELECT kind, sum(tokens)::bigint FROM transfers WHERE account_id = :id GROUP BY kind")
CAPTURES = text(
    "SELECT count(*) FROM transfers t JOIN generations g ON g.id = t.generation_id "
    "WHERE t.account_id = :id AND t.price_version <> g.price_version"
)


class Counting(LaneConnection):
    """Counts batches: `looked` those that were read under locks, `bets` those of one statement, `lost` bets."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.looked = self.bets = self.lost = 0
        self.pids: set[int] = set()

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncIterator[Any]:
        self.looked += 1
        async with super().transaction(begin) as driver:
            self.pids.add(driver.get_server_pid())
            yield driver

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Any]:
        self.bets += 1
        try:
            async with super().alone() as driver:
                yield driver
        except BaseException:
            self.lost += 1
            raise


class Worker:
    """A process, as far as the ledger can tell: a journal and its lane."""

    def __init__(self, engine: Any, *, shared_s: float = 0) -> None:
        self.id = new_id()
        self.journal = Journal(engine, self.id, memory=Memory(shared_s))
        self.connection = Counting(engine)
        self.journal.connection = self.connection
        self.lane = asyncio.create_task(self.journal.run())

    async def crash(self, engine: Any) -> None:
        """Gone without a word, and its connection with it."""
        self.lane.cancel()
        with suppress(asyncio.CancelledError):
            await self.lane
        await self.connection.close(broken=True)
        query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(:pids)")
        async with asyncio.timeout(5), engine.connect() as connection:
            while (await connection.execute(query, {"pids": list(self.connection.pids)})).scalar_one():
                await asyncio.sleep(0.002)

    async def close(self) -> None:
        self.journal.close()
        await self.lane


class World:
    """A database of its own, which machines use one after another; each has an account and three workers."""

    def __init__(self, app_url: str, owner_url: str, settings: Settings) -> None:
        self.loop = asyncio.new_event_loop()
        self.app = open_engine(app_url, settings)
        self.owner = open_engine(owner_url, settings, statement_timeout_s=60)
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self.said: Counter[str] = Counter()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def seed(self) -> None:
        async with self.owner.begin() as tx:
            await prices.seed(tx, load_catalogue(None), self.settings)

    async def close(self) -> None:
        await self.app.dispose()
        await self.owner.dispose()

    async def prove(self) -> None:
        async with snapshot(self.owner) as connection:
            report = await verify(connection)
        assert report.ok, report.to_json()


class Customer:
    """An account of the world with its workers, driven by the machine."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.name = f"machine-{uuid4().hex[:12]}"
        self.id = UUID(int=0)
        self.first_day = datetime.now(UTC).date()
        self.workers: list[Worker] = []

    async def begin(self, tokens: int, workers: int = 3) -> list[UUID]:
        """Two keys."""
        async with self.world.owner.begin() as tx:
            self.id = await keys.create_account(tx, self.name)
            await wallets.create_wallets(tx, self.id)
        if tokens:
            await self.top_up(tokens)
        self.workers = [Worker(self.world.app) for _ in range(workers)]
        return [await self.make_key() for _ in range(2)]

    async def end(self) -> None:
        for worker in self.workers:
            await worker.close()
            self._count(worker)

    def _count(self, worker: Worker) -> None:
        made = worker.connection
        self.world.counts += Counter(looked=made.looked, bets=made.bets, lost=made.lost)

    async def crash(self, index: int) -> UUID:
        """Another worker takes its place; gives the dead one's id."""
        dead = self.workers[index]
        await dead.crash(self.world.owner)
        self._count(dead)
        self.workers[index] = Worker(self.world.app)
        return dead.id

    async def crash_while_it_opens(self, index: int, wanted: Generation, after_s: float) -> bool:
        """Whether it was opened."""
        asking = asyncio.create_task(self.workers[index].journal.open(item_of(self, wanted)))
        await asyncio.sleep(after_s)
        await self.crash(index)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        query = text("SELECT count(*) FROM generations WHERE id = :id")
        async with self.world.owner.connect() as connection:
            return bool((await connection.execute(query, {"id": wanted.id})).scalar_one())

    async def make_key(self) -> UUID:
        async with self.world.owner.begin() as tx:
            return (await admin_keys.create_key(tx, b"pepper", self.name, "live", keys.Labels(), None, BY)).id

    async def revoke(self, key_id: UUID) -> None:
        async with self.world.owner.begin() as tx:
            await admin_keys.revoke_key(tx, str(key_id), BY)

    async def top_up(self, tokens: int, ref: str | None = None) -> None:
        funding = wallets.Funding(external_ref=ref)
        async with self.world.owner.begin() as tx:
            await wallets.top_up(tx, self.id, "live", tokens, reason="r", actor="tests", funding=funding)

    async def adjust(self, tokens: int) -> bool:
        try:
            async with self.world.owner.begin() as tx:
                await wallets.adjust(tx, self.id, "live", tokens, reason="r", actor="tests")
        except Conflict:
            return False
        return True

    async def refund(self, generation: Generation, cause: str, tokens: int | None) -> int | None:
        why = {"cause": cause, "reason": "r", "actor": "tests"}
        try:
            async with self.world.owner.begin() as tx:
                given = await refund(tx, self.id, "live", generation.id, **why, tokens=tokens)
        except (Conflict, NotFound):
            return None
        return given.tokens if given.new else 0

    async def set_limit(self, scope: tuple[str, str], most: int | None) -> None:
        async with self.world.owner.begin() as tx:
            await limits.set_limits(tx, self.name, "live", Scope(*scope), {"day_tokens": most}, BY)

    async def change_price(self, tokens: int) -> int:
        """The new version."""
        async with self.world.owner.begin() as tx:
            return (await prices.set_price(tx, MODEL, None, None, tokens, "r", "tests")).version

    async def pass_midnight(self) -> None:
        """What happened, happened a day earlier. No wallet changes by that, so no worker is told."""
        async with self.world.owner.begin() as tx:
            for statement in MIDNIGHT:
                await tx.exec_driver_sql(statement, (self.id,))

    async def check(self, model: Model) -> None:
        """The rows are what the model says, all of them."""
        names = {"id": self.id}
        async with self.world.owner.connect() as connection:
            wallet = await wallets.get_wallet(connection, self.id, "live")
            rows = (await connection.execute(GENERATIONS, names)).all()
            budgets = (await connection.execute(BUDGETS, names)).all()
            moved = (await connection.execute(MOVED, names)).all()
            strange = (await connection.execute(CAPTURES, names)).scalar_one()
        assert (wallet.posted_tokens, wallet.held_tokens) == (model.posted, model.held)
        assert {row[0]: tuple(row)[1:] for row in rows} == {g.id: row_of(g) for g in model.generations}
        assert {tuple(row)[:3]: tuple(row)[3:] for row in budgets} == self._budgets(model)
        assert dict(tuple(row) for row in moved) == dict(+model.moved)
        assert strange == 0

    def _budgets(self, model: Model) -> Mapping[tuple[str, str, str], tuple[int, ...]]:
        def period(day: int) -> str:
            return (self.first_day - timedelta(days=model.today - day)).isoformat()

        return {(*name[:2], period(name[2])): tuple(b) for name, b in model.budgets.items()}


def today() -> date:
    return datetime.now(UTC).date()


def row_of(g: Generation) -> tuple[Any, ...]:
    ended = g.state, g.outcome, g.epoch, g.hold, g.charged
    return *ended, g.claims, g.abandoned is not None, g.idempotency_key, g.price_version, g.worker_id


def item_of(customer: Customer, g: Generation, retry: int = 0) -> Open:
    row = {"worker_id": g.worker_id, "ttl_s": TTL_S, "model": MODEL, "price_version": g.price_version}
    row |= {"quote": {"price_version": g.price_version}, "request": {}, "app_id": g.app}
    told = {"idempotency_key": g.idempotency_key, "fingerprint": g.fingerprint, "retry": retry}
    return Open(customer.id, "live", g.id, g.key_id, g.hold, app=g.app, row=row, **told)


async def said(answer: Coroutine[Any, Any, Any]) -> Said:
    """An answer of the journal as the model says it."""
    try:
        outcome = await answer
    except ImagegateError as error:
        outcome = error
    return said_by(outcome)


def said_by(outcome: Any) -> Said:
    match outcome:
        case None:
            return ("absent",)
        case Held():
            return "held", outcome.available_tokens
        case Reopened():
            version = from_json(outcome.quote)["price_version"]
            return "reopened", outcome.generation_id, outcome.epoch, outcome.hold_tokens, version
        case Existing():
            return "existing", outcome.generation_id, outcome.state
        case Settled():
            return "settled", outcome.available_tokens
        case Fenced():
            return "fenced", outcome.state
        case InsufficientFunds():
            return "insufficient", outcome.needed_tokens, outcome.available_tokens
        case BudgetExceeded():
            return ("over budget",)
        case Unauthenticated():
            return ("refused",)
        case _:
            return (type(outcome).__name__.lower(),)
