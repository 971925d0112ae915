"""The other side of the machine: PostgreSQL, workers that come and go, and an operator, on a loop of their own."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import text

from imagegate.admin import keys as admin_keys
from imagegate.admin import limits
from imagegate.catalogue import prices
from imagegate.catalogue.catalogue import load_catalogue
from imagegate.db.base import open_engine, snapshot
from imagegate.errors import (
    Conflict,
    NotFound,
)
from imagegate.identity import keys
from imagegate.identity.audit import Actor
from imagegate.identity.limit_rows import Scope
from imagegate.journal.items import Open
from imagegate.ledger import wallets
from imagegate.ledger.refunds import refund
from imagegate.ledger.verify import verify
from imagegate.settings import Settings
from tests.journal.machine_model import Generation, Model
from tests.journal.machine_workers import Worker

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
    "idempotency_key, price_version, worker_id, (SELECT array_agg(DISTINCT t.price_version) FROM transfers t "
    "WHERE t.account_id = g.account_id AND t.env = g.env AND t.generation_id = g.id) "
    "FROM generations g WHERE account_id = :id"
)
BUDGETS = text(
    "SELECT scope, scope_id, period, spent_tokens, held_tokens FROM budgets WHERE account_id = :id"
)
MOVED = text("SELECT kind, sum(tokens)::bigint FROM transfers WHERE account_id = :id GROUP BY kind")


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
            assert worker.connection.broken == []

    def _count(self, worker: Worker) -> None:
        self.world.counts += worker.connection.counts

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
        """What happened, happened a day earlier. No wallet changes by that, so no worker is told.

        A worker knows by the clock that the day of a budget has ended; the clock cannot be turned here.
        """
        async with self.world.owner.begin() as tx:
            for statement in MIDNIGHT:
                await tx.exec_driver_sql(statement, (self.id,))
            limited = "SELECT count(day_tokens) FROM limits WHERE account_id = $1"
            if (await tx.exec_driver_sql(limited, (self.id,))).scalar_one():
                for worker in self.workers:
                    worker.memory.forget([(self.id, "live")])

    async def look(self) -> dict[str, Any]:
        """All rows of the customer, as `expected` has them."""
        names = {"id": self.id}
        async with self.world.owner.connect() as connection:
            wallet = await wallets.get_wallet(connection, self.id, "live")
            rows = (await connection.execute(GENERATIONS, names)).all()
            budgets = (await connection.execute(BUDGETS, names)).all()
            moved = (await connection.execute(MOVED, names)).all()
        return {
            "wallet": (wallet.posted_tokens, wallet.held_tokens),
            "generations": {row[0]: tuple(row)[1:] for row in rows},
            "budgets": {tuple(row)[:3]: tuple(row)[3:] for row in budgets},
            "moved": dict(tuple(row) for row in moved),
        }

    def expected(self, model: Model) -> dict[str, Any]:
        def period(day: int) -> str:
            return (self.first_day - timedelta(days=model.today - day)).isoformat()

        return {
            "wallet": (model.posted, model.held),
            "generations": {g.id: row_of(g) for g in model.generations},
            "budgets": {(*name[:2], period(name[2])): tuple(b) for name, b in model.budgets.items()},
            "moved": dict(+model.moved),
        }


def row_of(g: Generation) -> tuple[Any, ...]:
    ended = g.state, g.outcome, g.epoch, g.hold, g.charged
    left = g.claims, g.abandoned is not None, g.idempotency_key
    return *ended, *left, g.price_version, g.worker_id, [g.price_version] if g.moved else None


def item_of(customer: Customer, g: Generation, retry: int = 0) -> Open:
    row = {"worker_id": g.worker_id, "ttl_s": TTL_S, "model": MODEL, "price_version": g.price_version}
    row |= {"quote": {"price_version": g.price_version}, "request": {}, "app_id": g.app}
    told = {"idempotency_key": g.idempotency_key, "fingerprint": g.fingerprint, "retry": retry}
    return Open(customer.id, "live", g.id, g.key_id, g.hold, app=g.app, row=row, **told)
