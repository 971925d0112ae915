import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import allowances as operated
from imagegate.errors import Conflict, InvalidRequest, NotFound
from imagegate.identity.audit import Actor
from imagegate.ledger import allowances
from imagegate.ledger.allowances import Allowance, remainder
from imagegate.ledger.refunds import refund
from imagegate.ledger.statement import Line, read_statement
from tests.conftest import LIVE_TOKENS, Account
from tests.ledger import paying
from tests.ledger.paying import let_a_day_pass


@pytest.fixture
async def key_id(account: Account, engine: AsyncEngine) -> UUID:
    async with engine.begin() as tx:
        return await paying.make_key(tx, account.id)


async def set_allowance(
    engine: AsyncEngine, account: Account, tokens: int, *, carry_over: bool = False, period: str = "day"
) -> Allowance:
    async with engine.begin() as tx:
        return await allowances.set_allowance(tx, account.id, "live", period, tokens, carry_over=carry_over)


async def spend(engine: AsyncEngine, account: Account, key_id: UUID, tokens: int) -> UUID:
    async with engine.begin() as tx:
        return await paying.capture(tx, account.id, key_id, tokens)


async def moved(engine: AsyncEngine, account: Account) -> list[tuple[str, int]]:
    """What allowances moved, oldest first."""
    async with engine.connect() as connection:
        lines: list[Line] = await read_statement(connection, account.id, "live")
    return [(line.kind, line.tokens) for line in reversed(lines) if line.source == "allowance"]


async def test_an_allowance_is_granted_at_once_and_once_a_day(account: Account, engine: AsyncEngine) -> None:
    made = await set_allowance(engine, account, 500)
    await set_allowance(engine, account, 500)
    await allowances.grant_due(engine)

    assert await account.balance() == (LIVE_TOKENS + 500, 0)
    async with engine.connect() as connection:
        (grant, _) = await read_statement(connection, account.id, "live")
    today = datetime.now(UTC).date().isoformat()
    assert (grant.kind, grant.tokens, grant.source) == ("grant", 500, "allowance")
    assert grant.external_ref == f"{made.name}:{today}"


async def test_what_is_left_goes_back_when_the_next_day_comes(
    account: Account, engine: AsyncEngine, key_id: UUID
) -> None:
    await set_allowance(engine, account, 500)
    await spend(engine, account, key_id, 200)
    await let_a_day_pass(engine, account.id)

    assert await allowances.grant_due(engine) == 1
    assert await allowances.grant_due(engine) == 0

    assert await moved(engine, account) == [("grant", 500), ("expire", -300), ("grant", 500)]
    assert await account.balance() == (LIVE_TOKENS + 500, 0)


async def test_who_spent_more_than_the_allowance_gives_nothing_back(
    account: Account, engine: AsyncEngine, key_id: UUID
) -> None:
    await set_allowance(engine, account, 500)
    await spend(engine, account, key_id, 700)
    await let_a_day_pass(engine, account.id)

    await allowances.grant_due(engine)

    assert await moved(engine, account) == [("grant", 500), ("grant", 500)]
    assert await account.balance() == (LIVE_TOKENS + 300, 0)


async def test_a_refund_is_not_spent_and_one_of_an_earlier_day_adds_nothing(
    account: Account, engine: AsyncEngine, key_id: UUID
) -> None:
    earlier = await spend(engine, account, key_id, 900)
    await set_allowance(engine, account, 500)
    spent = await spend(engine, account, key_id, 500)
    async with engine.begin() as tx:
        await refund(tx, account.id, "live", spent, cause="c", reason="r", actor="tests", tokens=100)
    await let_a_day_pass(engine, account.id)
    await allowances.grant_due(engine)
    async with engine.begin() as tx:
        await refund(tx, account.id, "live", earlier, cause="c", reason="r", actor="tests")
    await let_a_day_pass(engine, account.id)
    await allowances.grant_due(engine)

    expected = [("grant", 500), ("expire", -100), ("grant", 500), ("expire", -500), ("grant", 500)]
    assert await moved(engine, account) == expected


async def test_held_tokens_do_not_go_back(account: Account, engine: AsyncEngine, key_id: UUID) -> None:
    await set_allowance(engine, account, 500)
    async with engine.begin() as tx:
        held = await paying.hold(tx, account.id, key_id, LIVE_TOKENS + 400)
    await let_a_day_pass(engine, account.id)

    await allowances.grant_due(engine)

    assert await moved(engine, account) == [("grant", 500), ("expire", -100), ("grant", 500)]
    assert await account.balance() == (LIVE_TOKENS + 900, LIVE_TOKENS + 400)
    async with engine.begin() as tx:
        await paying.void(tx, account.id, held)


async def test_carried_over_tokens_stay(account: Account, engine: AsyncEngine) -> None:
    await set_allowance(engine, account, 500, carry_over=True)
    await let_a_day_pass(engine, account.id)

    await allowances.grant_due(engine)

    assert await account.balance() == (LIVE_TOKENS + 1000, 0)


async def test_days_on_which_nobody_looked_are_not_made_up_for(account: Account, engine: AsyncEngine) -> None:
    await set_allowance(engine, account, 500)
    for _ in range(3):
        await let_a_day_pass(engine, account.id)

    await allowances.grant_due(engine)

    assert await moved(engine, account) == [("grant", 500), ("expire", -500), ("grant", 500)]


async def test_a_changed_amount_counts_from_the_next_day_on(account: Account, engine: AsyncEngine) -> None:
    first = await set_allowance(engine, account, 500)
    changed = await set_allowance(engine, account, 800)
    assert (changed.id, changed.tokens) == (first.id, 800)
    assert await account.balance() == (LIVE_TOKENS + 500, 0)
    await let_a_day_pass(engine, account.id)

    await allowances.grant_due(engine)

    assert await moved(engine, account) == [("grant", 500), ("expire", -500), ("grant", 800)]


async def test_a_day_and_a_month_stand_beside_each_other(account: Account, engine: AsyncEngine) -> None:
    day = await set_allowance(engine, account, 500)
    month = await set_allowance(engine, account, 7000, period="month")

    assert day.id != month.id
    assert await account.balance() == (LIVE_TOKENS + 7500, 0)
    async with engine.connect() as connection:
        (grant, *_) = await read_statement(connection, account.id, "live")
        listed = await allowances.list_allowances(connection, account.id)
    assert grant.external_ref == f"{month.name}:{datetime.now(UTC):%Y-%m}"
    assert [one.period for one in listed] == ["day", "month"]


async def test_the_oldest_is_listed_first_though_it_was_changed_last(
    account: Account, engine: AsyncEngine
) -> None:
    for tokens, period in ((500, "day"), (7000, "month"), (600, "day")):
        await set_allowance(engine, account, tokens, period=period)

    async with engine.connect() as connection:
        listed = await allowances.list_allowances(connection)

    mine = [(one.period, one.tokens) for one in listed if one.account_id == account.id]
    assert mine == [("day", 600), ("month", 7000)]


async def test_how_many_grants_were_made_is_told(account: Account, engine: AsyncEngine) -> None:
    await allowances.grant_due(engine)
    other = await paying.open_account(engine)
    for one in (account, other):
        await set_allowance(engine, one, 500)
        await let_a_day_pass(engine, one.id)

    assert [await allowances.grant_due(engine) for _ in range(2)] == [2, 0]


async def test_many_who_look_at_once_grant_once(account: Account, engine: AsyncEngine) -> None:
    await set_allowance(engine, account, 500)
    await let_a_day_pass(engine, account.id)

    grants = await asyncio.gather(*[allowances.grant_due(engine) for _ in range(4)])

    assert sum(grants) == 1
    assert await moved(engine, account) == [("grant", 500), ("expire", -500), ("grant", 500)]


async def test_an_ended_allowance_gives_back_what_is_left_and_is_granted_no_more(
    account: Account, engine: AsyncEngine, key_id: UUID
) -> None:
    made = await set_allowance(engine, account, 500)
    await spend(engine, account, key_id, 50)
    by = Actor("tests", "over")

    async with engine.begin() as tx:
        ended = await operated.end_allowance(tx, made.name, by)
    async with engine.begin() as tx:
        assert await operated.end_allowance(tx, made.name, by) == ended
    await let_a_day_pass(engine, account.id)
    await allowances.grant_due(engine)

    assert ended["ended_at"] is not None
    assert await moved(engine, account) == [("grant", 500), ("expire", -450)]
    async with engine.connect() as connection:
        assert await operated.list_allowances(connection, account.name) == []
        assert await operated.list_allowances(connection, account.name, ended=True) == [ended]
        query = text("SELECT count(*) FROM audit_log WHERE action = 'allowances.end' AND account_id = :id")
        assert (await connection.execute(query, {"id": account.id})).scalar_one() == 1


async def test_a_closed_account_is_granted_nothing(account: Account, engine: AsyncEngine) -> None:
    await set_allowance(engine, account, 500)
    await let_a_day_pass(engine, account.id)
    async with engine.begin() as tx:
        close = text("UPDATE accounts SET closed_at = now() WHERE id = :id")
        await tx.execute(close, {"id": account.id})

    await allowances.grant_due(engine)

    assert await moved(engine, account) == [("grant", 500)]
    by = Actor("tests", "more")
    with pytest.raises(Conflict):
        async with engine.begin() as tx:
            await operated.set_allowance(tx, account.name, "live", "day", 5, carry_over=False, actor=by)


async def test_what_cannot_be_an_allowance_is_refused(account: Account, engine: AsyncEngine) -> None:
    for tokens, period in ((0, "day"), (2**53, "day"), (5, "week")):
        with pytest.raises(InvalidRequest):
            await set_allowance(engine, account, tokens, period=period)
    with pytest.raises(NotFound):
        async with engine.begin() as tx:
            await operated.end_allowance(tx, "alw_" + "0" * 32, Actor("tests", "r"))

    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    ("granted", "net_spent", "available", "left"),
    [(100, 0, 500, 100), (100, 30, 500, 70), (100, 130, 500, 0), (100, -50, 500, 100), (100, 0, 40, 40)],
)
def test_the_remainder(granted: int, net_spent: int, available: int, left: int) -> None:
    assert remainder(granted, net_spent, available) == left
