"""Every check finds what it is there for. Each case breaks the rows in a transaction that is never committed."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.admin import limits
from imagegate.db.base import snapshot
from imagegate.identity.audit import Actor
from imagegate.identity.limit_rows import Scope
from imagegate.ledger import allowances, proof
from imagegate.ledger.refunds import refund
from imagegate.ledger.verify import CHECKS, Report, verify
from tests.conftest import Account
from tests.ledger import paying

FOR = "WHERE account_id = :id AND env = 'live'"
UNGUARDED = """
    ALTER TABLE transfers DROP CONSTRAINT ck_transfers_tokens, DROP CONSTRAINT ck_transfers_sides,
        DROP CONSTRAINT ck_transfers_kind, DROP CONSTRAINT ck_transfers_generation;
    ALTER TABLE wallets DROP CONSTRAINT ck_wallets_held_within_posted;
    ALTER TABLE generations DROP CONSTRAINT ck_generations_charged_within_hold,
        DROP CONSTRAINT ck_generations_charged_when_captured;
    DROP INDEX uq_transfers_capture, uq_transfers_refund, uq_transfers_external_ref, uq_transfers_wallet_version
"""
AGAIN = """
    INSERT INTO transfers SELECT account_id, env, gen_random_uuid(), wallet_version, debit, credit, tokens, kind,
        generation_id, cause, price_version, balance_after, source, external_ref, reason, actor, at FROM transfers
"""
BROKEN = [
    ("I1", f"UPDATE transfers SET debit = 'promo' {FOR} AND kind = 'top_up'"),
    ("I1", f"UPDATE transfers SET credit = 'funding', debit = 'wallet' {FOR} AND kind = 'expire'"),
    ("I2", f"UPDATE wallets SET posted_tokens = posted_tokens + 1 {FOR}"),
    ("I2", f"UPDATE wallets SET version = version + 1 {FOR}"),
    ("I2", f"UPDATE transfers SET balance_after = balance_after + 1 {FOR} AND wallet_version = 2"),
    ("I2", f"UPDATE transfers SET wallet_version = wallet_version + 1 {FOR} AND wallet_version > 2"),
    ("I2", f"DELETE FROM transfers {FOR} AND wallet_version = 1"),
    ("I3", f"UPDATE wallets SET held_tokens = held_tokens + 1 {FOR}"),
    ("I3", f"UPDATE budgets SET held_tokens = held_tokens + 1 {FOR}"),
    ("I3", f"DELETE FROM budgets {FOR}"),
    ("I3", f"UPDATE generations SET counted = NULL {FOR} AND state = 'running'"),
    ("I4", f"UPDATE wallets SET held_tokens = posted_tokens + 1 {FOR}"),
    ("I5", f"UPDATE generations SET charged_tokens = charged_tokens - 1 {FOR} AND state = 'captured'"),
    ("I5", f"UPDATE generations SET hold_tokens = charged_tokens - 1 {FOR} AND state = 'captured'"),
    ("I5", f"DELETE FROM transfers {FOR} AND kind = 'capture'"),
    ("I5", f"{AGAIN} {FOR} AND kind = 'capture'"),
    ("I5", f"UPDATE generations SET state = 'voided', outcome = 'final' {FOR} AND state = 'captured'"),
    ("I6", f"UPDATE transfers SET tokens = 1001 {FOR} AND kind = 'refund' AND cause = 'one'"),
    ("I6", f"UPDATE transfers SET cause = 'one' {FOR} AND kind = 'refund'"),
    ("I6", f"UPDATE transfers SET kind = 'usage' {FOR} AND kind = 'capture'"),
    ("I7", f"DELETE FROM images {FOR}"),
    ("I7", "INSERT INTO images SELECT i.account_id, i.env, g.id, 0, i.object, i.sha256, 1, 1, 1, i.mime, NULL, now() "
     "FROM images i JOIN generations g USING (account_id, env) WHERE i.account_id = :id AND g.state = 'running'"),
    ("I9", f"UPDATE generations SET answer_status = 502 {FOR} AND state = 'captured'"),
    ("I12", f"UPDATE generations SET price_version = 2 {FOR}"),
    ("I14", f"UPDATE generations SET expires_at = now() - interval '25 hours' {FOR} AND state = 'running'"),
    ("I15", f"UPDATE transfers SET generation_id = gen_random_uuid() {FOR} AND kind = 'refund'"),
    ("I17", f"{AGAIN} {FOR} AND kind = 'expire'"),
    ("I19", f"{AGAIN} {FOR} AND kind = 'grant' AND source = 'allowance'"),
    ("I19", f"UPDATE transfers SET tokens = 5001 {FOR} AND kind = 'expire'"),
    ("I19", f"DELETE FROM transfers {FOR} AND kind = 'grant'"),
    ("I19", f"DELETE FROM allowances {FOR}"),
    ("I19", f"UPDATE allowances SET period = 'month' {FOR}"),
    ("I19", f"UPDATE transfers SET source = 'operator' {FOR} AND kind = 'expire'"),
]  # fmt: skip


@pytest.fixture
async def busy(account: Account, engine: AsyncEngine) -> Account:
    """An account with one of everything: a capture, refunds, an allowance that expired, a hold on a budget."""
    async with engine.begin() as tx:
        key_id = await paying.make_key(tx, account.id)
        paid = await paying.capture(tx, account.id, key_id, 1000)
        for cause in ("one", "two"):
            why = {"cause": cause, "reason": "r", "actor": "tests"}
            await refund(tx, account.id, "live", paid, **why, tokens=400)
        await allowances.set_allowance(tx, account.id, "live", "day", 5000, carry_over=False)
    await paying.let_a_day_pass(engine, account.id)
    await allowances.grant_due(engine)
    return account


async def with_a_hold(tx: AsyncConnection, account: Account) -> None:
    """Not committed, like all that these tests do, so that nobody has to end it."""
    key_id = await paying.make_key(tx, account.id)
    await paying.hold(tx, account.id, key_id, 70)
    await limits.set_limits(
        tx, account.name, "live", Scope(), {"day_tokens": 100_000}, Actor("tests", "a hold to count")
    )


async def broken_by(engine: AsyncEngine, account: Account, statement: str) -> Report:
    async with engine.connect() as connection:
        # In the order that everybody takes them, so that nobody who works beside is waited for while he waits.
        await connection.execute(text("LOCK TABLE wallets, generations, transfers"))
        await with_a_hold(connection, account)
        for one in UNGUARDED.split(";"):
            await connection.execute(text(one))
        changed = await connection.execute(text(statement), {"id": account.id})
        assert changed.rowcount > 0
        report = await verify(connection)
        await connection.rollback()
    return report


async def test_what_is_in_order_breaks_nothing(busy: Account, engine: AsyncEngine) -> None:
    told: list[str] = []
    async with engine.connect() as connection:
        await with_a_hold(connection, busy)
        report = await verify(connection, lambda check: told.append(check.says))
        await connection.rollback()

    assert report.ok, report.to_json()
    assert told == [check.says for check in CHECKS]
    assert report.checked["budgets"] > 0


async def test_every_check_finds_what_it_is_there_for(busy: Account, engine: AsyncEngine) -> None:
    """One test for all, since what stands in the database before takes longest."""
    for invariant, statement in BROKEN:
        report = await broken_by(engine, busy, statement)

        found = {violation.invariant: violation.row for violation in report.violations}
        assert invariant in found, (statement, found)
        assert found[invariant]["account_id"] == str(busy.id), (statement, found)

    without_rows = {"I16"}
    assert {check.invariant for check in CHECKS} == {invariant for invariant, _ in BROKEN} | without_rows


async def test_a_column_of_money_that_is_no_integer_is_found(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("ALTER TABLE limits ALTER COLUMN day_tokens TYPE numeric"))
        report = await verify(connection)
        await connection.rollback()

    expected: dict[str, Any] = {"table_name": "limits", "column_name": "day_tokens", "data_type": "numeric"}
    assert [(v.invariant, v.row) for v in report.violations] == [("I16", expected)]


async def test_the_last_proof_is_remembered(engine: AsyncEngine) -> None:
    async with snapshot(engine) as connection:
        report = await verify(connection)
    async with engine.connect() as connection:
        await proof.keep_proof(connection, report)
        kept = await proof.last_proof(connection)
        await connection.rollback()

    assert kept is not None
    assert kept.violations == 0
    assert kept.seconds == pytest.approx(report.seconds, abs=0.001)
