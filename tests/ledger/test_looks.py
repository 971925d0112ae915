"""What is read of the ledger, field by field: statements, balances, budgets, gauges and traces."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.errors import InvalidRequest
from imagegate.ids import new_id
from imagegate.ledger import balances, budget_rows, holds, wallets
from imagegate.ledger.balances import Sums
from imagegate.ledger.budget_rows import Budget
from imagegate.ledger.gauges import Gauges, read_gauges
from imagegate.ledger.holds import Wallet
from imagegate.ledger.refunds import refund
from imagegate.ledger.statement import Line, read_statement
from imagegate.ledger.traces import transfers_of
from imagegate.ledger.wallets import Funding
from tests.conftest import LIVE_TOKENS, TEST_TOKENS, Account
from tests.ledger import paying

MANY = text(
    """
    INSERT INTO transfers (account_id, env, id, wallet_version, debit, credit, tokens, kind, balance_after, at)
    SELECT :id, 'live', gen_random_uuid(), 1 + n, 'funding', 'wallet', 1, 'top_up', 1000000 + n, now()
    FROM generate_series(1, 1000) n
    """
)
ONE = text(
    """
    INSERT INTO transfers (account_id, env, id, wallet_version, debit, credit, tokens, kind, balance_after, at)
    VALUES (:account_id, 'live', :id, :version, 'funding', 'wallet', 1, 'top_up', :after, now())
    """
)


async def test_a_line_of_the_statement_says_all_of_its_transfer(
    account: Account, engine: AsyncEngine
) -> None:
    paid = Funding("grant", "promo", "a campaign", "autumn 7")
    async with engine.connect() as tx:
        await wallets.top_up(tx, account.id, "live", 50, reason="a gift", actor="ops", funding=paid)
        made = await paying.capture(tx, account.id, await paying.make_key(tx, account.id), 1000)
        why = {"cause": "blurred", "reason": "it was", "actor": "desk"}
        given = await refund(tx, account.id, "live", made, **why, tokens=300)
        last, spent, gift, _ = await read_statement(tx, account.id, "live")
        moved = await transfers_of(tx, account.id, "live", made)
        await tx.rollback()

    after = LIVE_TOKENS - 650
    of = (made, "blurred", 1, None, None, "it was", "desk")
    assert last == Line(given.id, 4, last.at, "refund", 300, after, *of)
    of_capture = (made, None, 1, None, None, None, None)
    assert spent == Line(spent.id, 3, spent.at, "capture", -1000, after - 300, *of_capture)
    of_gift = (None, None, None, "a campaign", "autumn 7", "a gift", "ops")
    assert gift == Line(gift.id, 2, gift.at, "grant", 50, after + 700, *of_gift)
    assert len({last.id, spent.id, gift.id}) == 3
    assert datetime.now(UTC) - timedelta(minutes=1) < gift.at <= datetime.now(UTC)
    assert [(row.id, row.debit, row.credit, row.tokens) for row in moved] == [
        (spent.id, "wallet", "revenue", 1000),
        (given.id, "revenue", "wallet", 300),
    ]


async def test_a_page_of_a_statement_has_at_most_a_thousand_lines_and_a_hundred_unasked(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as tx:
        await tx.execute(MANY, {"id": account.id})
        lengths = [len(await read_statement(tx, account.id, "live", limit=limit)) for limit in (1, 1000)]
        unasked = await read_statement(tx, account.id, "live")
        for limit in (0, 1001):
            with pytest.raises(InvalidRequest) as refused:
                await read_statement(tx, account.id, "live", limit=limit)
        await tx.rollback()

    assert (lengths, len(unasked)) == ([1, 1000], 100)
    assert (refused.value.message, refused.value.param) == ("A page has 1 to 1000 lines.", "limit")


async def test_what_exceeded_a_hold_is_no_line_of_the_wallet_it_was_not_taken_from(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as tx:
        made = await paying.hold(tx, account.id, await paying.make_key(tx, account.id), 70)
        wallet = await wallets.lock_wallet(tx, account.id, "live")
        after, moved = holds.capture(wallet, made, 70, 90, 1)
        for transfer in moved:
            changed = [after] if transfer["kind"] == "capture" else []
            await wallets.write(tx, changed, [{"wallet_version": None, "balance_after": None} | transfer])
        lines = await read_statement(tx, account.id, "live")
        told = await transfers_of(tx, account.id, "live", made)
        await tx.rollback()

    assert [transfer["kind"] for transfer in moved] == ["capture", "usage"]
    assert [(line.kind, line.tokens) for line in lines] == [("capture", -70), ("top_up", LIVE_TOKENS)]
    assert [(row.kind, row.tokens) for row in told] == [("capture", 70)]


async def test_what_one_generation_moved_is_told_in_the_order_of_its_moves(
    account: Account, engine: AsyncEngine
) -> None:
    late = text(
        "INSERT INTO transfers (account_id, env, id, wallet_version, debit, credit, tokens, kind, generation_id, "
        "cause, balance_after) "
        "VALUES (:account_id, 'live', :id, :version, 'revenue', 'wallet', 1, 'refund', :of, :cause, 1)"
    )
    made = new_id()
    async with engine.connect() as tx:
        for version, (n, cause) in enumerate(((3, "a"), (1, "b"), (2, "c")), 2):
            row = {
                "account_id": account.id,
                "id": UUID(int=n),
                "version": version,
                "of": made,
                "cause": cause,
            }
            await tx.execute(late, row)
        told = await transfers_of(tx, account.id, "live", made)
        await tx.rollback()

    assert [row.cause for row in told] == ["b", "c", "a"]


async def test_what_one_generation_moved_is_of_it_alone(account: Account, engine: AsyncEngine) -> None:
    async with engine.connect() as tx:
        key_id = await paying.make_key(tx, account.id)
        one, other = [await paying.capture(tx, account.id, key_id, tokens) for tokens in (70, 80)]
        await refund(tx, account.id, "live", other, cause="c", reason="r", actor="a", tokens=5)
        seen = [await transfers_of(tx, account.id, "live", made) for made in (one, other)]
        elsewhere = [
            await transfers_of(tx, account.id, "test", one),
            await transfers_of(tx, new_id(), "live", one),
        ]
        await tx.rollback()

    assert [[(row.kind, row.tokens) for row in rows] for rows in seen] == [
        [("capture", 70)],
        [("capture", 80), ("refund", 5)],
    ]
    assert elsewhere == [[], []]


async def test_wallets_are_listed_in_order_all_of_them_or_of_one_environment(
    account: Account, engine: AsyncEngine
) -> None:
    live = Wallet(account.id, "live", LIVE_TOKENS, 0, 1, 1)
    test = Wallet(account.id, "test", TEST_TOKENS, 0, 1, 1)
    other = await paying.open_account(engine, live_tokens=5)

    async with engine.connect() as connection:
        await holds.touch_wallets(connection, account.id, "live")  # its row stands behind the other now
        live = replace(live, revision=2)
        listed = await balances.list_wallets(connection)
        tests = await balances.list_wallets(connection, "test")
        mine = await balances.wallets_of(connection, [account.id])
        both = await balances.wallets_of(connection, [account.id, other.id])
        await connection.rollback()

    assert listed == sorted(listed, key=lambda wallet: wallet.key)
    assert tests == [wallet for wallet in listed if wallet.env == "test"]
    assert {live, test} <= set(listed)
    assert set(mine) == {live, test}
    assert {wallet.key for wallet in both} == {
        (w.id, env) for w in (account, other) for env in ("live", "test")
    }


async def test_the_balance_of_a_moment_counts_what_was_moved_in_its_millisecond(
    account: Account, engine: AsyncEngine
) -> None:
    ms = 1_700_000_000_123
    ids = [UUID(int=(ms << 80) + (1 << 80) - 1), UUID(int=(ms + 1) << 80)]
    moments = [datetime.fromtimestamp(ms / 1000, UTC) + timedelta(milliseconds=n) for n in (-1, 0, 1)]

    async with engine.connect() as tx:
        for version, (id_, after) in enumerate(zip(ids, (11, 22), strict=True), 2):
            row = {"account_id": account.id, "id": id_, "version": version, "after": after}
            await tx.execute(ONE, row)
        had = await balances.read_balances(tx, account.id, "live", moments)
        elsewhere = await balances.read_balances(tx, account.id, "test", moments)
        await tx.rollback()

    assert (had, elsewhere) == ([0, 11, 22], [0, 0, 0])


async def test_a_wallet_is_held_against_its_transfers_and_its_open_generations(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as tx:
        await paying.hold(tx, account.id, await paying.make_key(tx, account.id), 70)
        right = await balances.sum_up(tx, account.id, "live")
        change = (
            "UPDATE wallets SET posted_tokens = 500, held_tokens = 60 WHERE account_id = :id AND env = 'live'"
        )
        await tx.execute(text(change), {"id": account.id})
        wrong = await balances.sum_up(tx, account.id, "live")
        await tx.rollback()

    assert (right, right.ok) == (Sums(LIVE_TOKENS, LIVE_TOKENS, 70, 70), True)
    assert (wrong, wrong.ok) == (Sums(500, LIVE_TOKENS, 60, 70), False)


async def test_budgets_are_written_over_and_those_of_today_and_this_month_are_listed(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as tx:
        now: datetime = (await tx.execute(text("SELECT now() AT TIME ZONE 'UTC'"))).scalar_one()
        another_day = "Pacific/Kiritimati" if now.hour >= 12 else "Etc/GMT+12"
        await tx.execute(text(f"SET LOCAL timezone = '{another_day}'"))
        day, month = now.strftime("%Y-%m-%d"), now.strftime("%Y-%m")
        for period in (day, month, "2020-01-31", "2020-01"):
            await budget_rows.write_budget(tx, account.id, "live", Budget("team", "art", period, 5, 6))
        await budget_rows.write_budget(tx, account.id, "live", Budget("team", "art", day, 7, 8))
        await budget_rows.write_budget(tx, account.id, "test", Budget("key", "k", day, 9, 10))
        live = await budget_rows.list_current_budgets(tx, account.id, "live")
        test = await budget_rows.list_current_budgets(tx, account.id, "test")
        other = await budget_rows.list_current_budgets(tx, new_id(), "live")
        await tx.rollback()

    assert set(live) == {Budget("team", "art", day, 7, 8), Budget("team", "art", month, 5, 6)}
    assert (len(live), test, other) == (2, [Budget("key", "k", day, 9, 10)], [])


async def alone(tx: AsyncConnection) -> None:
    """Until the end of `tx` its queries see tables of its own, and nothing of what others do."""
    for table in ("wallets", "generations"):
        await tx.execute(text(f"CREATE TEMP TABLE {table} AS SELECT * FROM {table} WITH NO DATA"))


async def test_gauges_count_what_is_open_and_how_long_it_has_been(engine: AsyncEngine) -> None:
    made = text(
        "INSERT INTO generations (account_id, env, id, state, hold_tokens, created_at) "
        "VALUES (:owner, 'live', gen_random_uuid(), :state, 7, now() - make_interval(secs => :age_s))"
    )
    async with engine.connect() as tx:
        await alone(tx)
        nothing = await read_gauges(tx)
        for state, age_s in (("running", 100), ("in_doubt", 200), ("queued", 300), ("queued", 50)):
            await tx.execute(made, {"owner": new_id(), "state": state, "age_s": age_s})
        seen = await read_gauges(tx)
        await tx.execute(text("UPDATE generations SET created_at = now() + interval '1 hour'"))
        ahead = await read_gauges(tx)
        await tx.rollback()

    assert nothing == Gauges(0, 0, 0.0, 0, 0.0)
    assert seen == Gauges(4, 4, 200.0, 2, 300.0)
    assert ahead == Gauges(4, 4, 0.0, 2, 0.0)
