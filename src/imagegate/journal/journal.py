"""The only writer of generations: everything that waits goes into one transaction (group commit).

A batch is one transaction of three statements: lock the wallets, read, apply; `decisions.decide` stands between
the last two. The next batch forms while the previous one commits. One lane per process.
"""

import asyncio
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import BillingUnavailable, SettlementPending
from imagegate.ids import public_id
from imagegate.journal.connection import LaneConnection
from imagegate.journal.decisions import Existing, Fenced, Held, Open, Settle, Settled
from imagegate.journal.lane import Item, Lane
from imagegate.settings import Settings

QUEUE_ITEMS = 2000


class Journal:
    """Open it with `run` as a task; `close` ends it once the queue is empty or the database stays away."""

    def __init__(self, engine: AsyncEngine, settings: Settings, worker_id: UUID) -> None:
        self.worker_id = worker_id
        self._lane = Lane(LaneConnection(engine, settings), worker_id)
        self._closing = False

    async def open(self, wanted: Open) -> Held | Existing:
        """Raises InsufficientFunds, BudgetExceeded, Unauthenticated, BillingUnavailable."""
        if self._closing or self._lane.waiting_opens >= QUEUE_ITEMS:
            raise BillingUnavailable
        outcome: Held | Existing = await self._put(wanted)
        return outcome

    async def settle(self, wanted: Settle, *, patience_s: float) -> Settled | Fenced:
        """Tried until it is done; after `patience_s` the caller gets SettlementPending and the journal goes on."""
        waiting = self._put(wanted)
        try:
            async with asyncio.timeout(patience_s):
                outcome: Settled | Fenced = await asyncio.shield(waiting)
        except TimeoutError:
            raise SettlementPending(public_id("gen", wanted.generation_id)) from None
        return outcome

    def _put(self, wanted: Open | Settle) -> "asyncio.Future[Any]":
        future = asyncio.get_running_loop().create_future()
        self._lane.put(Item(wanted, future))
        return future

    async def run(self) -> None:
        await self._lane.start()

    def close(self) -> None:
        self._closing = True
        self._lane.close()
