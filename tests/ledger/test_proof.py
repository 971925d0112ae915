"""What a proof of the ledger says, field by field, and what is kept of the last one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.ledger import proof
from imagegate.ledger.verify import COUNTS, Report, Violation, plain, verify
from tests.conftest import LIVE_TOKENS, Account


async def test_the_last_proof_says_how_many_violations_and_how_long(engine: AsyncEngine) -> None:
    broken = Violation("I4", "so", {})
    async with engine.connect() as tx:
        await tx.execute(text("DELETE FROM instance WHERE name = 'ledger_proof'"))
        never = await proof.last_proof(tx)
        await proof.keep_proof(tx, Report(violations=[broken, broken], seconds=1.23456))
        kept = await proof.last_proof(tx)
        await tx.rollback()

    assert never is None
    assert kept is not None
    assert (kept.violations, kept.seconds) == (2, 1.235)
    assert timedelta(minutes=-1) < datetime.now(UTC) - kept.at < timedelta(minutes=1)


def test_a_report_says_all_that_was_found() -> None:
    broken = Violation("I4", "held tokens lie between zero and the posted tokens", {"held_tokens": 5})

    told = Report({"wallets": 3}, [broken], ["a warning"], 1.23456).to_json()

    assert told == {
        "ok": False,
        "checked": {"wallets": 3},
        "violations": [{"invariant": broken.invariant, "says": broken.says, "row": {"held_tokens": 5}}],
        "warnings": ["a warning"],
        "seconds": 1.235,
    }
    assert Report().to_json()["ok"] is True


def test_a_row_is_told_in_numbers_words_and_nothing() -> None:
    row = {"n": 5, "word": "w", "none": None, "id": UUID(int=1), "sum": Decimal("1.00E+6")}

    assert plain(row) == {"n": 5, "word": "w", "none": None, "id": str(UUID(int=1)), "sum": 1_000_000}


async def test_a_proof_counts_rows_warns_of_a_role_that_may_change_transfers_and_names_what_is_wrong(
    account: Account, engine: AsyncEngine
) -> None:
    change = "UPDATE wallets SET posted_tokens = 5, version = 9 WHERE account_id = :id AND env = 'live'"
    async with engine.connect() as tx:
        await tx.execute(text(change), {"id": account.id})
        began = datetime.now(UTC)
        report = await verify(tx)
        took_s = (datetime.now(UTC) - began).total_seconds()
        counted = {
            table: (await tx.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() for table in COUNTS
        }
        await tx.rollback()

    assert report.checked == counted
    assert report.warnings == [
        "I13: this database role may change or delete transfers. Run the gateway as a role like imagegate_app, "
        "which may only read and append them."
    ]
    assert 0 < report.seconds <= took_s
    says = "a wallet's posted tokens are the sum of its transfers and the balance of the last of them"
    row = {
        "account_id": str(account.id),
        "env": "live",
        "posted_tokens": 5,
        "version": 9,
        "last_balance": None,
    }
    assert report.violations == [Violation("I2", says, {**row, "total": LIVE_TOKENS, "versions": 1})]
