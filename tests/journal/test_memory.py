"""What a lane remembers saves it a look, and decides nothing: whatever others did is seen by the very next batch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import accounts, limits
from imagegate.admin import keys as admin_keys
from imagegate.identity import keys
from imagegate.identity.limit_rows import Scope
from imagegate.ids import new_id
from imagegate.journal.items import Abandon, Open, Settle
from imagegate.ledger import wallets
from imagegate.ledger.holds import LOCK_WALLETS
from imagegate.ledger.refunds import refund
from imagegate.services import Services
from tests.conftest import Account, open_account
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

    async def limit(self, day_tokens: int | None) -> None:
        async with self.engine.begin() as tx:
            await limits.set_limits(tx, self.account.name, "live", Scope(), {"day_tokens": day_tokens}, BY)


MakeWorker = Callable[..., Worker]
MakeCustomer = Callable[..., Awaitable[Customer]]


@pytest.fixture
async def worker(services: Services) -> AsyncIterator[MakeWorker]:
    """Make workers. None of them may have met an error of the database, a deadlock for instance."""
    async with AsyncExitStack() as stack:
        made: list[Worker] = []

        def make(shared_s: float = 1.0) -> Worker:
            made.append(Worker(services.engine, shared_s=shared_s))
            stack.push_async_callback(made[-1].close)
            return made[-1]

        yield make
    assert [one.connection.broken for one in made] == [[]] * len(made)


@pytest.fixture
async def customer_of(services: Services, engine: AsyncEngine) -> AsyncIterator[MakeCustomer]:
    """Make customers. What they leave open is voided, so that no gateway's sweeper meets it."""
    made: list[Customer] = []

    async def make(tokens: int = TOKENS, expires_at: datetime | None = None) -> Customer:
        account = await open_account(services, engine, tokens)
        async with engine.begin() as tx:
            labels = keys.Labels()
            key = await admin_keys.create_key(tx, b"pepper", account.name, "live", labels, expires_at, BY)
        made.append(Customer(account, engine, key.id))
        return made[-1]

    yield make
    query = text("SELECT id, epoch FROM generations WHERE account_id = :id AND state = 'running'")
    sweeper = Worker(services.engine)
    for one in made:
        async with engine.connect() as connection:
            rows = (await connection.execute(query, {"id": one.account.id})).all()
        await asyncio.gather(*(one.void(sweeper, row.id, epoch=row.epoch) for row in rows))
    await sweeper.close()


@pytest.fixture
async def customer(customer_of: MakeCustomer) -> Customer:
    return await customer_of()


async def warm(customer: Customer, worker: Worker) -> Open:
    """The worker knows the customer now: its first open was read for, its second was not. Two tokens are held."""
    first = customer.wanted(worker, 1)
    assert (await said(worker.journal.open(first)))[0] == "held"
    assert (await customer.open(worker, 1))[0] == "held"
    assert dict(worker.connection.counts) == {"looked": 1, "bets": 1, "statements": 3}
    return first


async def test_a_lone_worker_needs_one_round_trip_a_batch(customer: Customer, worker: MakeWorker) -> None:
    alone = worker()
    await warm(customer, alone)
    before = alone.connection.counts["statements"]

    for _ in range(10):
        item = customer.wanted(alone, 10, idempotency_key=new_id().hex)
        assert (await said(alone.journal.open(item)))[0] == "held"
        assert (await customer.settle(alone, customer.capture(item.generation_id, 7)))[0] == "settled"

    counts = alone.connection.counts
    assert (counts["looked"], counts["lost"]) == (1, 0)
    assert counts["statements"] - before == counts["bets"] - 1 == 20
    assert await customer.account.balance() == (TOKENS - 70, 2)


async def revoke(customer: Customer) -> None:
    async with customer.engine.begin() as tx:
        await admin_keys.revoke_key(tx, str(customer.key_id), BY)


async def rotate(customer: Customer) -> None:
    async with customer.engine.begin() as tx:
        await admin_keys.rotate_key(tx, b"pepper", str(customer.key_id), 0, None, BY)


async def close(customer: Customer) -> None:
    async with customer.engine.begin() as tx:
        await accounts.close_account(tx, customer.account.name, BY)


@pytest.mark.parametrize("end", [revoke, rotate, close])
async def test_a_key_that_was_ended_elsewhere_spends_nothing_more(
    customer: Customer, worker: MakeWorker, end: Callable[[Customer], Awaitable[None]]
) -> None:
    here = worker()
    await warm(customer, here)

    await end(customer)

    assert await customer.open(here, 1) == ("refused",)
    assert await customer.account.balance() == (TOKENS, 2)


async def test_a_key_that_will_expire_is_asked_about_each_time(
    customer_of: MakeCustomer, worker: MakeWorker
) -> None:
    """That its hour has come is told by no revision of the wallet."""
    customer = await customer_of(expires_at=datetime.now(UTC) + timedelta(hours=1))
    here = worker()
    assert [(await customer.open(here, 1))[0] for _ in range(2)] == ["held", "held"]
    async with customer.engine.begin() as tx:
        query = text("UPDATE api_keys SET expires_at = now() WHERE id = :id")
        await tx.execute(query, {"id": customer.key_id})

    assert await customer.open(here, 1) == ("refused",)
    assert here.connection.counts["bets"] == 0


async def test_the_balance_that_others_left_is_told(customer: Customer, worker: MakeWorker) -> None:
    here, there = worker(shared_s=0), worker(shared_s=0)
    await warm(customer, here)

    await customer.top_up(500)
    assert await customer.open(here, 10) == ("held", TOKENS + 500 - 12)
    assert await customer.open(there, 100) == ("held", TOKENS + 500 - 112)
    assert await customer.open(here, 8) == ("held", TOKENS + 500 - 120)
    async with customer.engine.begin() as tx:
        await wallets.adjust(tx, customer.account.id, "live", -380, reason="r", actor="tests")

    assert await customer.open(here, 1001) == ("insufficient", 1001, 1000)
    assert await customer.account.balance() == (1120, 120)


async def test_tokens_that_another_worker_gave_back_can_be_spent_at_once(
    customer: Customer, worker: MakeWorker
) -> None:
    here, there = worker(), worker()
    first = await warm(customer, here)
    assert await customer.open(here, TOKENS) == ("insufficient", TOKENS, TOKENS - 2)

    captured = await customer.settle(there, customer.capture(first.generation_id, 1))
    async with customer.engine.begin() as tx:
        why = {"cause": "c", "reason": "r", "actor": "tests"}
        await refund(tx, customer.account.id, "live", first.generation_id, **why)

    assert captured == ("settled", TOKENS - 2)
    assert await customer.open(here, TOKENS - 1) == ("held", 0)


async def test_a_refusal_is_never_answered_from_memory(customer: Customer, worker: MakeWorker) -> None:
    here = worker(shared_s=0)
    await warm(customer, here)

    for looks in (2, 3):
        assert await customer.open(here, 999) == ("insufficient", 999, 998)
        assert here.connection.counts["looked"] == looks
    await customer.top_up(1)

    assert await customer.open(here, 999) == ("held", 0)
    assert here.connection.counts["lost"] == 0


async def test_a_budget_that_was_set_elsewhere_is_obeyed_and_its_end_too(
    customer: Customer, worker: MakeWorker
) -> None:
    here = worker(shared_s=0)
    await warm(customer, here)

    await customer.limit(102)
    told = [(await customer.open(here, tokens))[0] for tokens in (101, 60, 60, 40, 1)]
    await customer.limit(None)

    assert told == ["over budget", "held", "over budget", "held", "over budget"]
    assert (await customer.open(here, 500))[0] == "held"
    assert await customer.account.balance() == (TOKENS, 602)


async def test_an_end_that_another_worker_wrote_is_the_only_one(
    customer: Customer, worker: MakeWorker
) -> None:
    here, there = worker(), worker()
    first = await warm(customer, here)

    assert await customer.void(there, first.generation_id, "lost") == ("settled", TOKENS - 1)

    assert await customer.settle(here, customer.capture(first.generation_id, 1)) == ("fenced", "voided")
    assert await customer.account.balance() == (TOKENS, 1)


async def test_an_idempotency_key_that_another_worker_knows_is_known(
    customer: Customer, worker: MakeWorker
) -> None:
    here, there = worker(), worker()
    await warm(customer, here)
    item = customer.wanted(there, 5, idempotency_key="order")
    await said(there.journal.open(item))

    assert await customer.open(here, 5, idempotency_key="order") == (
        "existing",
        item.generation_id,
        "running",
    )
    assert await customer.account.balance() == (TOKENS, 7)


async def test_what_a_caller_of_another_worker_left_is_adopted(
    customer: Customer, worker: MakeWorker
) -> None:
    here, there = worker(shared_s=0), worker()
    first = await warm(customer, here)
    left = Abandon(customer.account.id, "live", first.generation_id)
    assert await said(there.journal.change(left, patience_s=5)) == ("done",)

    assert (await customer.open(here, 1))[0] == "held"  # another request: the worker has looked since
    adopted = await customer.open(here, 1, fingerprint=first.fingerprint)

    assert adopted == ("existing", first.generation_id, "running")
    assert await customer.account.balance() == (TOKENS, 3)


async def test_a_batch_of_two_customers_is_right_for_both_when_one_has_changed(
    customer_of: MakeCustomer, worker: MakeWorker
) -> None:
    here, there = worker(shared_s=0), worker()
    calm, busy = await customer_of(), await customer_of()
    await warm(calm, here)
    await asyncio.gather(calm.open(here, 1), busy.open(here, 1))
    assert await busy.open(there, TOKENS - 1) == ("held", 0)

    told = await asyncio.gather(calm.open(here, 1), busy.open(here, 1))

    assert told == [("held", TOKENS - 4), ("insufficient", 1, 0)]
    assert [await one.account.balance() for one in (calm, busy)] == [(TOKENS, 4), (TOKENS, TOKENS)]


@pytest.mark.parametrize("shared_s", [0, 1])
async def test_two_workers_grant_what_one_wallet_has_and_no_more(
    customer_of: MakeCustomer, worker: MakeWorker, shared_s: float
) -> None:
    """`worker` proves that no batch met a deadlock or another error."""
    customer, both = await customer_of(600), [worker(shared_s), worker(shared_s)]

    told = await asyncio.gather(*(customer.open(both[i % 2], 10) for i in range(200)))

    assert {one[0] for one in told} == {"held", "insufficient"}
    assert sum(one[0] == "held" for one in told) == 60
    assert await customer.account.balance() == (600, 600)


@pytest.mark.parametrize("shared_s", [0, 1])
async def test_what_one_worker_opens_another_may_end_while_both_are_busy(
    customer_of: MakeCustomer, worker: MakeWorker, shared_s: float
) -> None:
    customer, both = await customer_of(50), [worker(shared_s), worker(shared_s)]

    async def spend(number: int) -> int:
        """Opened here and ended there, again and again: captured each third time."""
        paid = 0
        for turn in range(8):
            here, there = both[(number + turn) % 2], both[number % 2]
            item = customer.wanted(here, 5)
            if (await said(here.journal.open(item)))[0] == "insufficient":
                continue
            if turn % 3:
                ended = await customer.void(there, item.generation_id)
            else:
                ended, paid = await customer.settle(there, customer.capture(item.generation_id, 1)), paid + 1
            assert ended[0] == "settled"
        return paid

    paid = sum(await asyncio.gather(*(spend(number) for number in range(16))))

    assert 0 < paid <= 50
    assert await customer.account.balance() == (50 - paid, 0)


async def test_equal_keys_at_two_workers_that_know_the_wallet_wait_for_each_other_in_no_circle(
    customer: Customer, worker: MakeWorker
) -> None:
    both = [worker(0), worker(0)]
    for number in range(20):
        knows = both[number % 2]
        await asyncio.gather(customer.open(knows, 0), customer.open(knows, 0))

        asked = [customer.open(one, 1, idempotency_key=f"{number}", fingerprint=b"f") for one in both * 3]
        told = await asyncio.gather(*asked)

        assert sorted(one[0] for one in told) == ["existing"] * 5 + ["held"]
    assert await customer.account.balance() == (TOKENS, 20)


COPY = """
    INSERT INTO generations (account_id, env, id, key_id, idempotency_key, state, expires_at, hold_tokens, model,
        price_version, quote, request)
    SELECT account_id, env, :id, key_id, 'order', state, expires_at, 0, model, price_version, quote, request
    FROM generations WHERE id = :first
"""


async def test_who_waits_for_a_wallet_keeps_nobody_from_another_row(
    customer: Customer, worker: MakeWorker
) -> None:
    """Whoever holds the wallet's lock would otherwise wait for one who waits for it."""
    here = worker()
    first = await warm(customer, here)
    names = {"id": new_id(), "first": first.generation_id}
    async with customer.engine.connect() as other:
        await other.exec_driver_sql(LOCK_WALLETS, ([customer.account.id], ["live"]))
        settling = asyncio.create_task(customer.settle(here, customer.capture(first.generation_id, 1)))
        opening = asyncio.create_task(customer.open(here, 5, idempotency_key="order"))
        await until_it_waits(customer.engine, here)

        await other.execute(text("SET LOCAL lock_timeout = '300ms'"))
        await other.execute(text("SELECT 1 FROM generations WHERE id = :first FOR UPDATE"), names)
        await other.execute(text(COPY), names)
        await other.rollback()

    assert [(await settling)[0], (await opening)[0]] == ["settled", "held"]
    assert here.connection.counts["lost"] == 0


async def until_it_waits(engine: AsyncEngine, worker: Worker) -> None:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(:pids) AND wait_event_type = 'Lock'")
    async with asyncio.timeout(5), engine.connect() as connection:
        while not (await connection.execute(query, {"pids": list(worker.connection.pids)})).scalar_one():
            await asyncio.sleep(0.005)


async def test_what_was_spent_yesterday_outlives_a_generation_that_runs_again(
    customer: Customer, worker: MakeWorker
) -> None:
    """Its hold counts on yesterday's budget, of which nothing is held and which no limit asks for any more."""
    here = worker()
    await customer.limit(500)
    paid, lost = (
        customer.wanted(here, 30),
        customer.wanted(here, 40, idempotency_key="order", fingerprint=b"f"),
    )
    for item in (paid, lost):
        assert (await said(here.journal.open(item)))[0] == "held"
    await customer.settle(here, customer.capture(paid.generation_id, 30))
    await customer.void(here, lost.generation_id, "lost")
    async with customer.engine.begin() as tx:
        for statement in YESTERDAY:
            await tx.execute(text(statement), {"id": customer.account.id})

    again = await customer.open(here, 40, idempotency_key="order", fingerprint=b"f")
    budget = text("SELECT spent_tokens, held_tokens FROM budgets WHERE account_id = :id")
    async with customer.engine.connect() as connection:
        rows = (await connection.execute(budget, {"id": customer.account.id})).all()

    assert again[:3] == ("reopened", lost.generation_id, 2)
    assert [tuple(row) for row in rows] == [(30, 40)]


YESTERDAY = (
    "UPDATE budgets SET period = (period::date - 1)::text WHERE account_id = :id",
    "UPDATE generations SET counted = jsonb_build_array("
    "jsonb_build_array('account', '', (counted -> 0 ->> 2)::date - 1)) WHERE account_id = :id",
)
