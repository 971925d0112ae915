"""The only writer of generations: everything that waits goes into one transaction (group commit).

A batch is one transaction of three statements: begin and lock the wallets, read, apply; `decisions.decide` stands
between the last two. The next batch forms while the previous one commits. One lane per process.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import BillingUnavailable, ImagegateError, SettlementPending
from imagegate.ids import public_id
from imagegate.journal.connection import BROKEN, LaneConnection, is_unknown, sqlstate
from imagegate.journal.decisions import (
    Books,
    Existing,
    Fenced,
    Held,
    Known,
    Open,
    Outcome,
    Rows,
    Settle,
    Settled,
    decide,
    wallets_of,
)
from imagegate.journal.statements import APPLY, READ
from imagegate.ledger.holds import Wallet, begin_with_locks

log = structlog.get_logger()

QUEUE_ITEMS = 2000
QUEUE_S = 2.0
BATCH_ITEMS = 32
"""More would let the gateway's loop and the database wait for each other in turns (measured at 64 concurrent: 8 items
399 requests/s, 16 571, 32 640, 256 563)."""
CONFLICTS = ("40P01", "40001")
RESOLVE_S = 10.0


@dataclass(slots=True, eq=False)
class Item:
    wanted: Open | Settle
    future: "asyncio.Future[Any]"
    since: float = field(default_factory=monotonic)


class Journal:
    """Open it with `run` as a task; `close` ends the lane once the queue is empty or the database stays away."""

    def __init__(self, engine: AsyncEngine, worker_id: UUID, *, pooler: bool = False) -> None:
        self._connection = LaneConnection(engine, tuned=not pooler)
        self.worker_id = worker_id
        self._opens: deque[Item] = deque()
        self._settles: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._closing = False

    async def open(self, wanted: Open) -> Held | Existing:
        """Raises InsufficientFunds, BudgetExceeded, Unauthenticated, BillingUnavailable."""
        if self._closing or len(self._opens) >= QUEUE_ITEMS:
            raise BillingUnavailable
        outcome: Held | Existing = await self._put(self._opens, wanted)
        return outcome

    async def settle(self, wanted: Settle, *, patience_s: float) -> Settled | Fenced:
        """Tried until it is done; after `patience_s` the caller gets SettlementPending and the journal goes on."""
        waiting = self._put(self._settles, wanted)
        try:
            async with asyncio.timeout(patience_s):
                outcome: Settled | Fenced = await asyncio.shield(waiting)
        except TimeoutError:
            waiting.add_done_callback(lambda future: future.cancelled() or future.exception())
            raise SettlementPending(public_id("gen", wanted.generation_id)) from None
        return outcome

    def _put(self, queue: "deque[Item]", wanted: Open | Settle) -> "asyncio.Future[Any]":
        item = Item(wanted, asyncio.get_running_loop().create_future())
        queue.append(item)
        self._arrived.set()
        return item.future

    async def run(self) -> None:
        """The lane. Ends after `close`, when nothing waits any more."""
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(self._expire())
            while not (self._closing and not self._settles and not self._opens):
                await self._arrived.wait()
                if batch := self._take():
                    await self._commit(batch)
                else:
                    self._arrived.clear()
                    if self._closing:
                        break
            ticker.cancel()
        await self._connection.close()

    def close(self) -> None:
        self._closing = True
        self._arrived.set()

    def _take(self) -> list[Item]:
        batch: list[Item] = []
        for queue in (self._settles, self._opens):
            while queue and len(batch) < BATCH_ITEMS:
                batch.append(queue.popleft())
        return batch

    async def _expire(self) -> None:
        """Opens that waited too long are refused; nothing was sent for them."""
        while True:
            await asyncio.sleep(QUEUE_S / 8)
            while self._opens and monotonic() - self._opens[0].since > QUEUE_S:
                fail(self._opens.popleft(), BillingUnavailable())

    async def _commit(self, batch: list[Item], tries: int = 1) -> None:
        try:
            outcomes = await self._transact([item.wanted for item in batch])
        except BROKEN as error:
            await self._recover(batch, error, tries)
        except Exception as error:
            log.exception("journal_bug", items=len(batch))
            for item in batch:
                fail(item, error)
        else:
            for item, outcome in zip(batch, outcomes, strict=True):
                finish(item, outcome)

    async def _recover(self, batch: list[Item], error: Exception, tries: int) -> None:
        state = sqlstate(error)
        if is_unknown(error):
            log.warning("journal_database_gone", items=len(batch), error=type(error).__name__)
            await self._resolve(batch)
        elif state in CONFLICTS and tries < 3:
            await self._commit(batch, tries + 1)
        elif len(batch) > 1:
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
        else:
            log.error("journal_item_refused", sqlstate=state, item=type(batch[0].wanted).__name__)
            fail(batch[0], error)

    async def _resolve(self, batch: list[Item]) -> None:
        """The commit's fate is unknown: look, under the same locks, what of the batch is there."""
        give_up = monotonic() + RESOLVE_S
        wait_s = 0.05
        while True:
            try:
                wanted = [item.wanted for item in batch]
                async with self._connection.transaction(begin_with_locks(wallets_of(wanted))) as tx:
                    books = await read(tx, wanted)
                break
            except BROKEN:
                if monotonic() > give_up or self._closing:
                    self._postpone(batch)
                    return
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, 1.0)
        for item in batch:
            self._resolved(item, books.generations.get(item.wanted.generation_id))

    def _resolved(self, item: Item, known: Known | None) -> None:
        wanted = item.wanted
        if isinstance(wanted, Settle):
            expected = "captured" if wanted.outcome is None else "voided"
            if known is not None and known.state == expected and known.epoch == wanted.epoch:
                finish(item, Settled(-1))
            else:
                self._settles.append(item)
                self._arrived.set()
        elif known is not None and known.worker_id == self.worker_id:
            finish(item, Held(-1))
        else:
            fail(item, BillingUnavailable())

    def _postpone(self, batch: list[Item]) -> None:
        """The database stays away. Settlements wait on; an open is refused, and voided should it be there after all."""
        for item in batch:
            wanted = item.wanted
            if isinstance(wanted, Open):
                fail(item, BillingUnavailable())
                void = Settle(wanted.account_id, wanted.env, wanted.generation_id, 1, outcome="lost")
                self._put(self._settles, void).add_done_callback(lambda f: f.cancelled() or f.exception())
            elif not self._closing:
                self._settles.append(item)
                self._arrived.set()
            else:
                fail(item, SettlementPending(public_id("gen", wanted.generation_id)))

    async def _transact(self, items: Sequence[Open | Settle]) -> list[Outcome]:
        async with self._connection.transaction(begin_with_locks(wallets_of(items))) as tx:
            outcomes, rows = decide(items, await read(tx, items))
            if rows.any():
                await apply(tx, rows)
        return outcomes


async def read(tx: Any, items: Sequence[Open | Settle]) -> Books:
    """The wallets, generations, idempotency keys and API keys that the items name, under the wallets' locks."""
    opens = [item for item in items if isinstance(item, Open)]
    keyed = [item for item in opens if item.idempotency_key]
    columns = (
        [i.account_id for i in items],
        [i.env for i in items],
        [i.generation_id for i in items],
        [i.account_id for i in keyed],
        [i.env for i in keyed],
        [i.idempotency_key for i in keyed],
        [i.account_id for i in opens],
        [i.env for i in opens],
        [i.key_id for i in opens],
    )
    books = Books({}, {}, set())
    for kind, *row, usable, posted, version, revision in await tx.fetch(READ, *columns):
        if kind == "wallet":
            wallet = Wallet(row[0], row[1], posted, row[5], version, revision)
            books.wallets[wallet.key] = wallet
        elif kind == "generation":
            books.generations[row[2]] = Known(*row)
        elif usable:
            books.usable_keys.add(row[2])
    return books


async def apply(tx: Any, rows: Rows) -> None:
    """Write a batch. Raises RuntimeError when a row that was read under the lock has changed all the same."""
    made = (rows.opened, rows.settled, rows.images, rows.attempts, rows.transfers, rows.wallets)
    counts = tuple(await tx.fetchrow(APPLY, *(to_json(table).decode() for table in made)))
    if counts != (len(rows.opened), len(rows.settled), len(rows.wallets)):
        raise RuntimeError(
            f"a journal batch changed {counts} rows of generations and wallets, unlike decided"
        )


def finish(item: Item, outcome: Outcome) -> None:
    if isinstance(outcome, ImagegateError):
        fail(item, outcome)
    elif not item.future.done():
        item.future.set_result(outcome)


def fail(item: Item, error: Exception) -> None:
    if not item.future.done():
        item.future.set_exception(error)
    with contextlib.suppress(asyncio.InvalidStateError, asyncio.CancelledError):
        item.future.exception()  # a caller that has gone reads it no more
