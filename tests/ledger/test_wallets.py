import asyncio
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import Conflict, InvalidRequest, NotFound
from imagegate.ledger import wallets
from imagegate.ledger.holds import Wallet
from imagegate.ledger.statement import read_statement
from imagegate.ledger.wallets import MAX_TOKENS, Funding
from tests.conftest import LIVE_TOKENS, Account
from tests.ledger import paying


async def adjust(engine: AsyncEngine, account: Account, tokens: int) -> Wallet:
    async with engine.begin() as tx:
        return await wallets.adjust(tx, account.id, "live", tokens, reason="a count", actor="tests")


async def top_up(engine: AsyncEngine, account: Account, tokens: int, funding: Funding) -> Wallet:
    async with engine.begin() as tx:
        return await wallets.top_up(
            tx, account.id, "live", tokens, reason="paid", actor="tests", funding=funding
        )


async def test_an_adjustment_adds_and_takes(account: Account, engine: AsyncEngine) -> None:
    assert (await adjust(engine, account, 5)).posted_tokens == LIVE_TOKENS + 5
    assert (await adjust(engine, account, -LIVE_TOKENS)).posted_tokens == 5

    async with engine.connect() as connection:
        last, first, _ = await read_statement(connection, account.id, "live")
    assert (last.kind, last.tokens, last.balance_after, last.reason) == ("adjust", -LIVE_TOKENS, 5, "a count")
    assert (first.kind, first.tokens, first.balance_after) == ("adjust", 5, LIVE_TOKENS + 5)


async def test_held_tokens_cannot_be_taken(account: Account, engine: AsyncEngine) -> None:
    async with engine.begin() as tx:
        key_id = await paying.make_key(tx, account.id)
        held = await paying.hold(tx, account.id, key_id, 400_000)

    with pytest.raises(Conflict, match="at most 600000 can be taken") as refused:
        await adjust(engine, account, -600_001)

    assert (refused.value.status, refused.value.code) == (409, "wallet_too_low")
    assert await account.balance() == (LIVE_TOKENS, 400_000)
    assert (await adjust(engine, account, -600_000)).available_tokens == 0
    async with engine.begin() as tx:
        await paying.void(tx, account.id, held)


async def test_two_who_take_the_last_tokens_at_once_do_not_both_get_them(
    account: Account, engine: AsyncEngine
) -> None:
    takes = [adjust(engine, account, -700_000) for _ in range(4)]

    done = await asyncio.gather(*takes, return_exceptions=True)

    assert sorted(type(one).__name__ for one in done) == ["Conflict"] * 3 + ["Wallet"]
    assert await account.balance() == (300_000, 0)


@pytest.mark.parametrize("tokens", [0, MAX_TOKENS + 1, -MAX_TOKENS - 1, MAX_TOKENS])
async def test_an_adjustment_that_is_none_or_too_much_is_refused(
    account: Account, engine: AsyncEngine, tokens: int
) -> None:
    with pytest.raises(InvalidRequest):
        await adjust(engine, account, tokens)

    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_there_must_be_a_wallet(engine: AsyncEngine) -> None:
    with pytest.raises(NotFound):
        async with engine.begin() as tx:
            await wallets.adjust(tx, uuid4(), "live", 1, reason="r", actor="tests")


async def test_the_same_reference_with_another_amount_is_a_conflict(
    account: Account, engine: AsyncEngine
) -> None:
    paid = Funding(source="stripe", external_ref="pi_1")
    first = await top_up(engine, account, 500, paid)

    again = await top_up(engine, account, 500, paid)
    with pytest.raises(Conflict, match="was applied to this wallet before, with 500 tokens") as refused:
        await top_up(engine, account, 501, paid)

    assert (again.posted_tokens, again.version) == (first.posted_tokens, first.version)
    assert (refused.value.status, refused.value.code) == (409, "external_ref_reused")
    assert (await top_up(engine, account, 501, Funding(source="bank", external_ref="pi_1"))).version == 3
    assert await account.balance() == (LIVE_TOKENS + 1001, 0)


@pytest.mark.parametrize(
    "funding",
    [
        Funding(source="allowance", external_ref="alw_1:2027-01"),
        Funding(source="allowance"),
        Funding(source=""),
        Funding(external_ref=""),
        Funding(external_ref="x" * 201),
        Funding(source="a\nb"),
    ],
)
async def test_a_source_or_reference_that_cannot_be_one_is_refused(
    account: Account, engine: AsyncEngine, funding: Funding
) -> None:
    with pytest.raises(InvalidRequest):
        await top_up(engine, account, 500, funding)

    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_statement_goes_on_below_the_last_line_seen(account: Account, engine: AsyncEngine) -> None:
    for tokens in (1, 2, 3):
        await adjust(engine, account, tokens)

    async with engine.connect() as connection:
        newest = await read_statement(connection, account.id, "live", limit=2)
        rest = await read_statement(connection, account.id, "live", after=newest[-1].version, limit=2)
        test = await read_statement(connection, account.id, "test")
        with pytest.raises(InvalidRequest):
            await read_statement(connection, account.id, "live", limit=0)

    assert [line.tokens for line in newest + rest] == [3, 2, 1, LIVE_TOKENS]
    assert [line.version for line in newest + rest] == [4, 3, 2, 1]
    assert [line.kind for line in test] == ["top_up"]
