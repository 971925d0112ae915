"""The only writer of generations: everything that waits goes into one transaction (group commit).

A batch is one transaction: begin and lock the wallets, read, apply; `decisions.decide` stands between the last two.
When the lane still knows all of it from its last batch, it is one statement that proves what was known while it
writes. The next batch forms while the previous one commits. One lane per process.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import BillingUnavailable, SettlementPending
from imagegate.ids import public_id
from imagegate.journal import resolving
from imagegate.journal.books import Books
from imagegate.journal.connection import BROKEN, LaneConnection, NotCommitted, is_unknown, sqlstate
from imagegate.journal.decisions import decide, wallets_of
from imagegate.journal.items import (
    Change,
    Claim,
    Done,
    Existing,
    Fenced,
    Held,
    Item,
    Open,
    Outcome,
    Reopened,
    Settle,
    Settled,
)
from imagegate.journal.memory import Memory
from imagegate.journal.queueing import Waiting, fail, finish
from imagegate.journal.reading import apply, read
from imagegate.ledger.holds import begin_with_locks

log = structlog.get_logger()

QUEUE_ITEMS = 2000
QUEUE_S = 2.0
BATCH_ITEMS = 32
"""More would let the gateway's loop and the database wait for each other in turns (measured at 64 concurrent: 8 items
399 requests/s, 16 571, 32 640, 256 563)."""
AWAY_S = 0.1
"""Between two tries while the database is away."""
CONFLICTS = ("40P01", "40001")


class Journal:
    """Open it with `run` as a task; `close` ends the lane once the queue is empty or the database stays away."""

    def __init__(
        self, engine: AsyncEngine, worker_id: UUID, *, pooler: bool = False, memory: Memory | None = None
    ) -> None:
        self.connection = LaneConnection(engine, tuned=not pooler)
        self.worker_id = worker_id
        self.closing = False
        self._opens: deque[Waiting] = deque()
        self._changes: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._memory = memory or Memory()

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._opens) + len(self._changes)

    @property
    def waited_s(self) -> float:
        """How long the open that has waited longest has done so."""
        return monotonic() - self._opens[0].since if self._opens else 0.0

    async def open(self, wanted: Open) -> Held | Reopened | Existing:
        """Raises InsufficientFunds, BudgetExceeded, Unauthenticated, BillingUnavailable."""
        outcome: Held | Reopened | Existing = await self._ask(wanted)
        return outcome

    async def claim(self, wanted: Claim) -> Existing | None:
        """The generation that an equal request began, now adopted. Raises BillingUnavailable."""
        outcome = await self._ask(wanted)
        return outcome if isinstance(outcome, Existing) else None

    async def _ask(self, wanted: Open | Claim) -> Any:
        if self.closing or len(self._opens) >= QUEUE_ITEMS:
            raise BillingUnavailable
        return await self.put(Waiting.of(wanted))

    async def settle(self, wanted: Settle, *, patience_s: float) -> Settled | Fenced:
        """Tried until it is done; after `patience_s` the caller gets SettlementPending and the journal goes on."""
        outcome: Settled | Fenced = await self.change(wanted, patience_s=patience_s)
        return outcome

    async def change(self, wanted: Change, *, patience_s: float) -> Any:
        """As `settle`, for whatever else happens to a known generation: Done or Fenced."""
        waiting = Waiting.of(wanted)
        late = SettlementPending(public_id("gen", wanted.generation_id))
        # A timer of its own: `asyncio.timeout` and `shield` take twelve times as long, and every request ends here.
        expiry = asyncio.get_running_loop().call_later(patience_s, fail, waiting, late)
        try:
            return await self.put(waiting)
        finally:
            expiry.cancel()

    def put(self, waiting: Waiting) -> "asyncio.Future[Any]":
        (self._changes if isinstance(waiting.item, Change) else self._opens).append(waiting)
        self._arrived.set()
        return waiting.future

    async def run(self) -> None:
        """The lane. Ends after `close`, when nothing waits any more."""
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(self._expire())
            while not (self.closing and not self._changes and not self._opens):
                await self._arrived.wait()
                if batch := self._take():
                    await self._commit(batch)
                else:
                    self._arrived.clear()
                    if self.closing:
                        break
            ticker.cancel()
        await self.connection.close()

    def close(self) -> None:
        self.closing = True
        self._arrived.set()

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        for queue in (self._changes, self._opens):
            while queue and len(batch) < BATCH_ITEMS:
                batch.append(queue.popleft())
        return batch

    async def _expire(self) -> None:
        """Opens that waited too long are refused; nothing was sent for them."""
        while True:
            await asyncio.sleep(QUEUE_S / 8)
            while self._opens and monotonic() - self._opens[0].since > QUEUE_S:
                fail(self._opens.popleft(), BillingUnavailable())

    async def _commit(self, batch: list[Waiting], tries: int = 1) -> None:
        try:
            outcomes = await self._transact(batch)
        except NotCommitted as error:
            self._memory.forget(wallets_of(w.item for w in batch))
            log.warning("journal_database_away", items=len(batch), error=type(error.__cause__).__name__)
            resolving.postpone(self, batch)
            await asyncio.sleep(AWAY_S)
        except BROKEN as error:
            await self._recover(batch, error, tries)
        except Exception as error:
            log.exception("journal_bug", items=len(batch))
            for waiting in batch:
                fail(waiting, error)
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                finish(waiting, outcome)

    async def _recover(self, batch: list[Waiting], error: Exception, tries: int) -> None:
        state = sqlstate(error)
        self._memory.forget(wallets_of(w.item for w in batch))
        if is_unknown(error):
            log.warning("journal_database_gone", items=len(batch), error=type(error).__name__)
            await resolving.resolve(self, batch)
        elif state in CONFLICTS and tries < 3:
            await self._commit(batch, tries + 1)
        elif len(batch) > 1:
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
        else:
            log.error("journal_item_refused", sqlstate=state, item=type(batch[0].item).__name__)
            fail(batch[0], error)

    async def _transact(self, batch: list[Waiting]) -> list[Outcome]:
        items = [waiting.item for waiting in batch]
        keys = wallets_of(items)
        if known := self._memory.recall(items):
            outcomes = await self._bet(items, known)
            if outcomes is not None:
                return outcomes
        read_at = monotonic()
        async with self.connection.transaction(begin_with_locks(keys)) as tx:
            books = await read(tx, items)
            outcomes, rows = decide(items, books)
            await apply(tx, rows)
        self._memory.keep(items, books, rows, read_at=read_at)
        return outcomes

    async def _bet(self, items: list[Item], books: Books) -> list[Outcome] | None:
        """Decide on what is remembered, and write it where that still holds. None: it must be read first.

        A refusal writes nothing, and so would prove nothing.
        """
        outcomes, rows = decide(items, books)
        if not all(isinstance(outcome, Held | Settled | Done) for outcome in outcomes):
            return None
        try:
            async with self.connection.alone() as driver:
                await apply(driver, rows)
        except (asyncpg.DivisionByZeroError, asyncpg.UniqueViolationError):
            self._memory.forget(wallets_of(items), shared=True)
            return None
        self._memory.keep(items, books, rows, read_at=None)
        return outcomes
