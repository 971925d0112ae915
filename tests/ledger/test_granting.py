"""Which wallet an allowance is of, where its amounts begin and end, and what its transfers say."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import InvalidRequest, NotFound
from imagegate.ids import new_id
from imagegate.ledger import allowances, wallets
from imagegate.ledger.allowances import end_allowance, list_allowances, run_due, set_allowance
from imagegate.ledger.statement import read_statement
from imagegate.ledger.wallets import MAX_TOKENS, Funding
from tests.conftest import LIVE_TOKENS, Account
from tests.ledger import paying

OPS = {"reason": "r", "actor": "ops"}


@pytest.mark.parametrize(
    ("period", "tokens", "expected"),
    [
        ("week", 5, ("An allowance is per day or per month.", "period", "invalid_value")),
        ("day", 0, (f"An allowance is between 1 and {MAX_TOKENS} tokens.", "tokens", "invalid_value")),
        (
            "day",
            MAX_TOKENS + 1,
            (f"An allowance is between 1 and {MAX_TOKENS} tokens.", "tokens", "invalid_value"),
        ),
    ],
)
async def test_an_allowance_that_cannot_be_is_refused_with_its_reason(
    engine: AsyncEngine, period: str, tokens: int, expected: object
) -> None:
    async with engine.connect() as tx:
        with pytest.raises(InvalidRequest) as refused:
            await set_allowance(tx, new_id(), "live", period, tokens, carry_over=False)

    error = refused.value
    assert (error.message, error.param, error.code) == expected


async def test_a_wallet_that_is_all_but_full_is_granted_what_it_can_still_take(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as tx:
        rest = MAX_TOKENS - LIVE_TOKENS - 1
        await wallets.top_up(tx, account.id, "live", rest, **OPS, funding=Funding())
        made = await set_allowance(tx, account.id, "live", "day", MAX_TOKENS, carry_over=True)
        granted = await wallets.get_wallet(tx, account.id, "live")
        await set_allowance(tx, account.id, "live", "month", 1, carry_over=True)
        full = await wallets.get_wallet(tx, account.id, "live")
        (line, *_) = await read_statement(tx, account.id, "live")
        await tx.rollback()

    today = datetime.now(UTC).date().isoformat()
    assert (granted.posted_tokens, granted.version, full.version) == (MAX_TOKENS, 3, 3)
    assert (line.tokens, line.reason, line.actor) == (1, f"allowance of the day {today}", "allowances")
    assert (line.source, line.external_ref) == ("allowance", f"{made.name}:{today}")


async def test_an_allowance_is_of_one_wallet(account: Account, engine: AsyncEngine) -> None:
    other = await paying.open_account(engine)
    async with engine.connect() as tx:
        made = await set_allowance(tx, account.id, "live", "day", 1, carry_over=False)
        beside = await set_allowance(tx, account.id, "test", "day", 2, carry_over=True)
        foreign = await set_allowance(tx, other.id, "live", "day", 3, carry_over=False)
        for owner, env in ((other.id, "live"), (account.id, "test")):
            with pytest.raises(NotFound) as unknown:
                await end_allowance(tx, owner, env, made.id)
            assert await run_due(tx, owner, env, made.id) == 0
        nothing_due = await run_due(tx, account.id, "live", made.id)
        mine, everyone = await list_allowances(tx, account.id), await list_allowances(tx)
        found, missing = (
            await allowances.find_allowance(tx, made.id),
            await allowances.find_allowance(tx, new_id()),
        )
        await tx.rollback()

    assert (mine, found, missing, nothing_due) == ([made, beside], made, None, 0)
    assert [one for one in everyone if one in (made, beside, foreign)] == [made, beside, foreign]
    assert [(one.env, one.period, one.tokens, one.carry_over) for one in mine] == [
        ("live", "day", 1, False),
        ("test", "day", 2, True),
    ]
    assert unknown.value.message == "There is no such allowance. List them: imagegate allowances list"


@pytest.mark.parametrize(("carry_over", "left"), [(False, 0), (True, 1)])
async def test_the_last_token_of_an_ended_allowance_goes_back_unless_it_carries_over(
    account: Account, engine: AsyncEngine, carry_over: bool, left: int
) -> None:
    async with engine.connect() as tx:
        made = await set_allowance(tx, account.id, "live", "day", 1, carry_over=carry_over)
        ended = await end_allowance(tx, account.id, "live", made.id)
        again = await end_allowance(tx, account.id, "live", made.id)
        after = await wallets.get_wallet(tx, account.id, "live")
        due = await run_due(tx, account.id, "live", made.id)
        (line, *_) = await read_statement(tx, account.id, "live")
        active, all_of_them = (
            await list_allowances(tx, account.id),
            await list_allowances(tx, account.id, ended=True),
        )
        await tx.rollback()

    assert ended == again
    assert ended.ended_at is not None
    assert (active, all_of_them, due) == ([], [ended], 0)
    assert after.posted_tokens == LIVE_TOKENS + left
    today = datetime.now(UTC).date().isoformat()
    if not carry_over:
        assert (line.kind, line.tokens, line.reason) == ("expire", -1, f"left of the day {today}")
        assert (line.external_ref, line.actor) == (f"{made.name}:{today}:expire", "allowances")


async def test_an_allowance_of_one_token_is_granted_and_counted(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.begin() as tx:
        made = await set_allowance(tx, account.id, "live", "day", 1, carry_over=False)
    await paying.let_a_day_pass(engine, account.id)

    async with engine.connect() as tx:
        due = await run_due(tx, account.id, "live", made.id)
        await tx.rollback()
    grants = await allowances.grant_due(engine)

    assert (due, grants) == (1, 1)
    assert await account.balance() == (LIVE_TOKENS + 1, 0)
