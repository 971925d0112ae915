import asyncio
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import Conflict, InvalidRequest, NotFound
from imagegate.ledger.refunds import Refund, refund
from imagegate.ledger.statement import read_statement
from tests.conftest import LIVE_TOKENS, Account
from tests.ledger import paying


async def give(
    engine: AsyncEngine, account: Account, generation_id: UUID, cause: str, tokens: int | None = None
) -> Refund:
    async with engine.begin() as tx:
        why = {"cause": cause, "reason": "blurred", "actor": "tests"}
        return await refund(tx, account.id, "live", generation_id, **why, tokens=tokens)


@pytest.fixture
async def paid(account: Account, engine: AsyncEngine) -> UUID:
    """A generation that was charged 1,000 tokens."""
    async with engine.begin() as tx:
        return await paying.capture(tx, account.id, await paying.make_key(tx, account.id), 1000)


async def test_a_refund_gives_back_what_was_captured(
    account: Account, engine: AsyncEngine, paid: UUID
) -> None:
    given = await give(engine, account, paid, "complaint 7")

    assert (given.tokens, given.refunded_tokens, given.captured_tokens, given.new) == (1000, 1000, 1000, True)
    assert await account.balance() == (LIVE_TOKENS, 0)
    async with engine.connect() as connection:
        (line, _, _) = await read_statement(connection, account.id, "live")
    assert (line.kind, line.tokens, line.generation_id) == ("refund", 1000, paid)
    assert (line.cause, line.price_version, line.reason) == ("complaint 7", 1, "blurred")


async def test_one_cause_gives_back_once(account: Account, engine: AsyncEngine, paid: UUID) -> None:
    first = await give(engine, account, paid, "complaint 7", 300)

    again = await give(engine, account, paid, "complaint 7", 500)

    assert (again.id, again.tokens, again.new) == (first.id, 300, False)
    assert again.wallet.posted_tokens == first.wallet.posted_tokens
    assert await account.balance() == (LIVE_TOKENS - 700, 0)


async def test_parts_of_several_causes_never_exceed_the_capture(
    account: Account, engine: AsyncEngine, paid: UUID
) -> None:
    await give(engine, account, paid, "one", 300)
    with pytest.raises(Conflict, match="700 are left") as refused:
        await give(engine, account, paid, "two", 701)
    rest = await give(engine, account, paid, "two")
    with pytest.raises(Conflict) as wholly:
        await give(engine, account, paid, "three")

    assert (refused.value.status, refused.value.code) == (409, "refund_too_high")
    assert (wholly.value.status, wholly.value.code) == (409, "already_refunded")
    assert (rest.tokens, rest.refunded_tokens) == (700, 1000)
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_refunds_at_once_are_as_one_after_the_other(
    account: Account, engine: AsyncEngine, paid: UUID
) -> None:
    same = [give(engine, account, paid, "same", 600) for _ in range(3)]
    others = [give(engine, account, paid, f"other {n}", 600) for n in range(3)]

    done = await asyncio.gather(*same, *others, return_exceptions=True)

    moved = [one for one in done if isinstance(one, Refund) and one.new]
    assert len(moved) == 1
    assert all(isinstance(one, Refund | Conflict) for one in done)
    assert await account.balance() == (LIVE_TOKENS - 400, 0)


async def test_what_was_not_captured_from_this_wallet_is_not_found(
    account: Account, engine: AsyncEngine, paid: UUID
) -> None:
    stranger = await paying.open_account(engine)
    async with engine.begin() as tx:
        key_id = await paying.make_key(tx, account.id)
        free = await paying.capture(tx, account.id, key_id, 0)

    with pytest.raises(NotFound):
        await give(engine, account, free, "c")
    with pytest.raises(NotFound):
        await give(engine, stranger, paid, "c")
    with pytest.raises(NotFound):
        async with engine.begin() as tx:
            await refund(tx, account.id, "test", paid, cause="c", reason="r", actor="tests")

    assert await stranger.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    ("cause", "tokens"), [("", None), ("x" * 201, None), ("a\nb", None), ("c", 0), ("c", -5)]
)
async def test_a_refund_without_cause_or_tokens_is_refused(
    account: Account, engine: AsyncEngine, paid: UUID, cause: str, tokens: int | None
) -> None:
    with pytest.raises(InvalidRequest):
        await give(engine, account, paid, cause, tokens)

    assert await account.balance() == (LIVE_TOKENS - 1000, 0)
