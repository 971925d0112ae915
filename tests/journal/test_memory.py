"""What a lane remembers saves it a look, and decides nothing: whatever others did is seen by the very next batch."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import accounts
from imagegate.admin import keys as admin_keys
from imagegate.ids import new_id
from imagegate.journal.books import Books, Known, Limit, Rows
from imagegate.journal.items import Abandon, Open, Settle
from imagegate.journal.memory import Memory
from imagegate.journal.statements import MOST_LEFT
from imagegate.ledger import wallets
from imagegate.ledger.holds import LOCK_WALLETS, Wallet
from imagegate.ledger.refunds import refund
from tests.journal.customers import TOKENS, Customer, MakeCustomer, MakeWorker, warm
from tests.journal.machine_workers import Worker, said
from tests.journal.machine_world import BY


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


async def test_a_lone_worker_that_counts_budgets_needs_one_round_trip_a_batch_too(
    customer: Customer, worker: MakeWorker
) -> None:
    await customer.limit(400, month_tokens=TOKENS)
    alone = worker()
    await warm(customer, alone)

    for _ in range(10):
        item = customer.wanted(alone, 10)
        assert (await said(alone.journal.open(item)))[0] == "held"
        assert (await customer.settle(alone, customer.capture(item.generation_id, 7)))[0] == "settled"

    counts = alone.connection.counts
    assert (counts["looked"], counts["bets"], counts["lost"]) == (1, 21, 0)
    assert await customer.budgets() == [(70, 2), (70, 2)]
    assert (await customer.open(alone, 329))[0] == "over budget"


async def test_what_another_worker_counts_on_a_budget_is_counted_on_by_the_next_batch(
    customer: Customer, worker: MakeWorker
) -> None:
    here, there = worker(shared_s=0), worker(shared_s=0)
    await customer.limit(100)
    first = await warm(customer, here)

    assert (await customer.open(there, 60))[0] == "held"
    assert (await customer.settle(there, customer.capture(first.generation_id, 1)))[0] == "settled"

    assert [(await customer.open(here, tokens))[0] for tokens in (39, 38)] == ["over budget", "held"]
    assert await customer.budgets() == [(1, 99)]


@pytest.mark.parametrize(("day_left_s", "known"), [(3600.0, True), (0.5, False)])
def test_a_wallet_with_budgets_is_not_remembered_into_the_next_day(day_left_s: float, known: bool) -> None:
    account_id, key_id = new_id(), new_id()
    limit = Limit("account", "", 100, None, "2026-11-22", "2026-11", day_left_s)
    wallet = Wallet(account_id, "live", TOKENS, 0, 1, 1)
    books = Books({wallet.key: wallet}, {}, {key_id}, limits={wallet.key: [limit]})
    item = Open(account_id, "live", new_id(), key_id, 10)
    memory = Memory()

    memory.keep([item], books, Rows(), read_at=monotonic())

    assert (memory.recall([item]) is not None) is known


def test_an_end_that_counts_on_a_budget_which_is_not_remembered_is_read_for() -> None:
    account_id, key_id = new_id(), new_id()
    wallet = Wallet(account_id, "live", TOKENS, 10, 1, 1)
    counted = (("account", "", "2026-11-21"),)
    running = Known(account_id, "live", new_id(), "running", 1, 10, counted=counted)
    end = Settle(account_id, "live", running.id, 1, 7, 1, None, {}, [], [])
    memory = Memory()

    memory.keep([], Books({wallet.key: wallet}, {running.id: running}, {key_id}), Rows(), read_at=monotonic())
    assert memory.recall([end]) is None
    budgets = {(account_id, "live", *counted[0]): (0, 10)}
    memory.keep(
        [],
        Books({wallet.key: wallet}, {running.id: running}, set(), budgets=budgets),
        Rows(),
        read_at=monotonic(),
    )

    assert memory.recall([end]) is not None


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


async def test_what_callers_leave_costs_those_who_stay_no_look(
    customer: Customer, worker: MakeWorker
) -> None:
    here = worker()
    first = await warm(customer, here)
    left = Abandon(customer.account.id, "live", first.generation_id)
    assert await said(here.journal.change(left, patience_s=5)) == ("done",)
    looked = here.connection.counts["looked"]

    others = [await customer.open(here, 1), await customer.open(here, 1, idempotency_key="order")]
    keyed = await customer.open(here, 1, idempotency_key="same", fingerprint=first.fingerprint)
    assert [one[0] for one in (*others, keyed)] == ["held"] * 3
    assert (await customer.settle(here, customer.capture(first.generation_id, 1)))[0] == "settled"
    assert here.connection.counts["looked"] == looked
    adopted = await customer.open(here, 1, fingerprint=first.fingerprint)

    assert adopted == ("existing", first.generation_id, "captured")
    assert (await customer.open(here, 1, fingerprint=first.fingerprint))[0] == "held"
    assert await customer.account.balance() == (TOKENS - 1, 5)


@pytest.mark.parametrize("same", [True, False])
async def test_a_wallet_of_which_too_much_was_left_is_not_remembered(
    same: bool, customer: Customer, worker: MakeWorker
) -> None:
    here = worker()
    more = {"fingerprint": b"same"} if same else {}
    left = [customer.wanted(here, 0), *(customer.wanted(here, 0, **more) for _ in range(MOST_LEFT + 5))]
    await asyncio.gather(*(said(here.journal.open(item)) for item in left))
    gone = (Abandon(customer.account.id, "live", item.generation_id) for item in left)
    await asyncio.gather(*(said(here.journal.change(one, patience_s=5)) for one in gone))
    await customer.open(here, 1)
    looked, bets = here.connection.counts["looked"], here.connection.counts["bets"]

    asked = [left[0].fingerprint, left[1].fingerprint, b"another"]
    told = [await customer.open(here, 1, fingerprint=one) for one in asked]

    assert [one[0] for one in told] == ["existing", "existing", "held"]
    equal = [item.generation_id for item in left if item.fingerprint == left[1].fingerprint]
    assert [one[1] for one in told[:2]] == [left[0].generation_id, min(equal)]
    assert here.connection.counts["looked"] == looked + len(told)
    assert here.connection.counts["bets"] == bets


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
