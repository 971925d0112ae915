"""After a connection broke: was the batch committed? The same locks are taken, which waits for the old transaction."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from imagegate.errors import BillingUnavailable, SettlementPending
from imagegate.ids import public_id
from imagegate.journal.books import Books
from imagegate.journal.connection import BROKEN, NotCommitted
from imagegate.journal.decisions import wallets_of
from imagegate.journal.items import Abandon, Begin, Change, Claim, Done, Held, Open, Settle, Settled, Take
from imagegate.journal.queueing import Waiting, fail, finish
from imagegate.journal.reading import read
from imagegate.ledger.holds import begin_with_locks

if TYPE_CHECKING:
    from imagegate.journal.journal import Journal

RESOLVE_S = 2.0


async def resolve(journal: "Journal", batch: Sequence[Waiting]) -> None:
    """Tell those whose item is there; put settlements that are not there into the queue again; refuse opens."""
    give_up = monotonic() + RESOLVE_S
    wait_s = 0.05
    while True:
        try:
            books = await look(journal, batch)
            break
        except (NotCommitted, *BROKEN):
            if monotonic() > give_up or journal.closing:
                postpone(journal, batch, doubtful=True)
                return
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, 1.0)
    for waiting in batch:
        resolved(journal, waiting, books)


async def look(journal: "Journal", batch: Sequence[Waiting]) -> Books:
    """The generations that the batch names, those that it may have opened as well."""
    items = [waiting.item for waiting in batch]
    opened = [Abandon(i.account_id, i.env, i.generation_id) for i in items if isinstance(i, Open)]
    async with journal.connection.transaction(begin_with_locks(wallets_of(items))) as tx:
        return await read(tx, [*items, *opened])


def resolved(journal: "Journal", waiting: Waiting, books: Books) -> None:
    item = waiting.item
    if isinstance(item, Claim):
        fail(waiting, BillingUnavailable())
        return
    known = books.generations.get(item.generation_id)
    if isinstance(item, Settle):
        expected = "captured" if item.outcome is None else "voided"
        done = known is not None and known.state == expected and known.epoch == item.epoch
        finish(waiting, Settled(-1)) if done else journal.put(waiting)
    elif isinstance(item, Take):
        done = known is not None and known.epoch == item.epoch + 1 and known.worker_id == item.worker_id
        finish(waiting, Done()) if done else journal.put(waiting)
    elif isinstance(item, Begin):
        done = known is not None and known.epoch == item.epoch and known.worker_id == item.worker_id
        finish(waiting, Done()) if done else journal.put(waiting)
    elif isinstance(item, Change):
        journal.put(waiting)  # done twice is done once
    elif known is not None and known.worker_id == journal.worker_id:
        finish(waiting, Held(-1))
    else:
        fail(waiting, BillingUnavailable())


def postpone(journal: "Journal", batch: Sequence[Waiting], *, doubtful: bool = False) -> None:
    """The database is away. Changes wait on; opens are refused, and voided should one be there after all.

    doubtful: whether any of the batch may be there.
    """
    for waiting in batch:
        item = waiting.item
        if isinstance(item, Open | Claim):
            fail(waiting, BillingUnavailable())
            if doubtful and isinstance(item, Open):
                void = Settle(item.account_id, item.env, item.generation_id, 1, outcome="lost")
                journal.put(Waiting.of(void)).add_done_callback(lambda f: f.cancelled() or f.exception())
        elif not journal.closing:
            journal.put(waiting)
        else:
            fail(waiting, SettlementPending(public_id("gen", item.generation_id)))
