"""The lane: takes all that waits, commits it in one transaction of three statements, and tells the waiters.

It has a thread and a loop of its own. On the gateway's loop each of a batch's five round trips would wait until
dozens of requests had had their turn, and every request would wait for the batch.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
import uvloop
from pydantic_core import to_json

from imagegate.errors import BillingUnavailable, ImagegateError, SettlementPending
from imagegate.ids import public_id
from imagegate.journal.connection import BROKEN, LaneConnection, is_unknown, sqlstate
from imagegate.journal.decisions import (
    Books,
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
from imagegate.ledger.holds import LOCK_WALLETS, Wallet, WalletKey, lock_columns, wallets_from

log = structlog.get_logger()

QUEUE_S = 2.0
BATCH_ITEMS = 256
CONFLICTS = ("40P01", "40001")
RESOLVE_S = 10.0

End = Outcome | Exception


@dataclass(slots=True, eq=False)
class Item:
    """One wish on its way. `end` is called on the gateway's loop; None = nobody waits."""

    wanted: Open | Settle
    future: "asyncio.Future[Any] | None" = None
    since: float = field(default_factory=monotonic)


class Lane:
    """`put` may be called from the loop that `home` names, and from the lane itself."""

    def __init__(self, connection: LaneConnection, worker_id: UUID) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._opens: deque[Item] = deque()
        self._settles: deque[Item] = deque()
        self._ended: list[tuple[Item, End]] = []
        self._idle = False
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home: asyncio.AbstractEventLoop | None = None

    @property
    def waiting_opens(self) -> int:
        return len(self._opens)

    def start(self) -> "asyncio.Future[None]":
        """The thread; the future ends with it."""
        self._home = asyncio.get_running_loop()
        over: asyncio.Future[None] = self._home.create_future()

        def work() -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
            self._tell_home(lambda: None if over.done() else over.set_result(None))

        threading.Thread(target=work, name="journal", daemon=True).start()
        return over

    def put(self, item: Item) -> None:
        (self._settles if isinstance(item.wanted, Settle) else self._opens).append(item)
        self._wake()

    def close(self) -> None:
        """The lane ends once nothing waits any more, or the database stays away."""
        self._closing = True
        self._wake()

    def _wake(self) -> None:
        # `_idle` is set before the lane looks at the queues for the last time, so no wish is overlooked.
        if self._idle and self._loop is not None:
            self._loop.call_soon_threadsafe(self._arrived.set)

    def _tell_home(self, call: Any) -> None:
        if self._home is not None and not self._home.is_closed():
            self._home.call_soon_threadsafe(call)

    async def _run(self) -> None:
        self._loop, self._arrived = asyncio.get_running_loop(), asyncio.Event()
        ticker = asyncio.create_task(self._expire())
        while True:
            self._idle = True
            if batch := self._take():
                self._idle = False
                await self._commit(batch)
                self._flush()
            elif self._closing:
                break
            else:
                await self._arrived.wait()
            self._arrived.clear()
        ticker.cancel()
        await self._connection.close()

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
                self._end(self._opens.popleft(), BillingUnavailable())
            self._flush()

    def _end(self, item: Item, end: End) -> None:
        self._ended.append((item, end))

    def _flush(self) -> None:
        """Tell the waiters of a whole batch in one turn of their loop."""
        if self._ended:
            ended, self._ended = self._ended, []
            self._tell_home(lambda: tell(ended))

    async def _commit(self, batch: list[Item], tries: int = 1) -> None:
        try:
            outcomes = await self._transact([item.wanted for item in batch])
        except BROKEN as error:
            await self._recover(batch, error, tries)
        except Exception as error:
            log.exception("journal_bug", items=len(batch))
            for item in batch:
                self._end(item, error)
        else:
            for item, outcome in zip(batch, outcomes, strict=True):
                self._end(item, outcome)

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
            self._end(batch[0], error)

    async def _resolve(self, batch: list[Item]) -> None:
        """The commit's fate is unknown: look, under the same locks, what of the batch is there."""
        give_up = monotonic() + RESOLVE_S
        wait_s = 0.05
        while True:
            try:
                async with self._connection.transaction() as tx:
                    await tx.fetch(LOCK_WALLETS, *lock_columns(wallets_of(item.wanted for item in batch)))
                    books = await read(tx, [item.wanted for item in batch], {})
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
                self._end(item, Settled(-1))
            else:
                self._settles.append(item)
        elif known is not None and known.worker_id == self._worker_id:
            self._end(item, Held(-1))
        else:
            self._end(item, BillingUnavailable())

    def _postpone(self, batch: list[Item]) -> None:
        """The database stays away. Settlements wait on; an open is refused, and voided should it be there after all."""
        for item in batch:
            wanted = item.wanted
            if isinstance(wanted, Open):
                self._end(item, BillingUnavailable())
                void = Settle(wanted.account_id, wanted.env, wanted.generation_id, 1, outcome="lost")
                self._settles.append(Item(void))
            elif not self._closing:
                self._settles.append(item)
            else:
                self._end(item, SettlementPending(public_id("gen", wanted.generation_id)))

    async def _transact(self, items: Sequence[Open | Settle]) -> list[Outcome]:
        async with self._connection.transaction() as tx:
            locked = wallets_from(await tx.fetch(LOCK_WALLETS, *lock_columns(wallets_of(items))))
            outcomes, rows = decide(items, await read(tx, items, locked))
            if rows.any():
                await apply(tx, rows)
        return outcomes


async def read(tx: Any, items: Sequence[Open | Settle], wallets: dict[WalletKey, Wallet]) -> Books:
    """The generations, idempotency keys and API keys that the items name."""
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
    books = Books(wallets, {}, set())
    for *row, usable in await tx.fetch(READ, *columns):
        if usable is None:
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


def tell(ended: Sequence[tuple[Item, End]]) -> None:
    for item, end in ended:
        future = item.future
        if future is None or future.done():
            continue
        if isinstance(end, Exception | ImagegateError):
            future.set_exception(end)
            future.exception()  # a caller that has gone reads it no more
        else:
            future.set_result(end)
