"""An account whose holds and captures go straight to a journal, without a line above it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import limits
from imagegate.identity.limit_rows import Scope
from imagegate.ids import new_id
from imagegate.journal.items import Open, Settle
from imagegate.ledger import wallets
from tests.conftest import Account
from tests.journal.machine_model import Said
from tests.journal.machine_workers import Worker, said
from tests.journal.machine_world import ATTEMPT, BY, IMAGE, MODEL

TOKENS = 1000


@dataclass
class Customer:
    """One account with one key."""

    account: Account
    engine: AsyncEngine
    key_id: UUID

    def wanted(self, worker: Worker, hold: int, **more: Any) -> Open:
        row = {"worker_id": worker.id, "ttl_s": 600, "model": MODEL, "price_version": 1}
        row |= {"quote": {"price_version": 1, "n": 1}, "request": {}}
        more = {"fingerprint": new_id().bytes, **more}
        return Open(self.account.id, "live", new_id(), self.key_id, hold, row=row, **more)

    async def open(self, worker: Worker, hold: int, **more: Any) -> Said:
        return await said(worker.journal.open(self.wanted(worker, hold, **more)))

    def capture(self, generation_id: UUID, tokens: int) -> Settle:
        row = {"answer_status": 200}
        return Settle(self.account.id, "live", generation_id, 1, tokens, 1, None, row, [IMAGE], [ATTEMPT])

    async def settle(self, worker: Worker, item: Settle) -> Said:
        return await said(worker.journal.settle(item, patience_s=5))

    async def void(self, worker: Worker, generation_id: UUID, outcome: str = "final", epoch: int = 1) -> Said:
        item = Settle(
            self.account.id, "live", generation_id, epoch, outcome=outcome, row={"answer_status": 503}
        )
        return await self.settle(worker, item)

    async def top_up(self, tokens: int) -> None:
        async with self.engine.begin() as tx:
            funding = wallets.Funding()
            await wallets.top_up(tx, self.account.id, "live", tokens, reason="r", actor="a", funding=funding)

    async def limit(self, day_tokens: int | None, **more: int | None) -> None:
        async with self.engine.begin() as tx:
            await limits.set_limits(
                tx, self.account.name, "live", Scope(), {"day_tokens": day_tokens, **more}, BY
            )

    async def budgets(self) -> list[tuple[int, int]]:
        """Spent and held, the day before the month."""
        query = text(
            "SELECT spent_tokens, held_tokens FROM budgets WHERE account_id = :id ORDER BY length(period) DESC"
        )
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(query, {"id": self.account.id})]


MakeWorker = Callable[..., Worker]
MakeCustomer = Callable[..., Awaitable[Customer]]


async def warm(customer: Customer, worker: Worker) -> Open:
    """The worker knows the customer now: its first open was read for, its second was not. Two tokens are held."""
    first = customer.wanted(worker, 1)
    assert (await said(worker.journal.open(first)))[0] == "held"
    assert (await customer.open(worker, 1))[0] == "held"
    assert dict(worker.connection.counts) == {"looked": 1, "bets": 1, "statements": 3}
    return first
