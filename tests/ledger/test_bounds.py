"""Where top-ups, adjustments and refunds begin and end, and word by word what is said beyond."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import Conflict, ImagegateError, InvalidRequest, NotFound
from imagegate.ids import new_id
from imagegate.ledger import wallets
from imagegate.ledger.holds import Wallet
from imagegate.ledger.refunds import Refund, check_amount, refund
from imagegate.ledger.statement import read_statement
from imagegate.ledger.wallets import MAX_TOKENS, Funding, check_reference, check_room
from tests.conftest import LIVE_TOKENS, TEST_TOKENS, Account
from tests.ledger import paying

OPS = {"reason": "r", "actor": "ops"}
NO_WALLET = "There is no such wallet."


def said(error: ImagegateError) -> tuple[str, str | None, str]:
    return error.message, error.param, error.code


@pytest.mark.parametrize("tokens", [0, -1, MAX_TOKENS + 1])
async def test_a_top_up_is_at_least_a_token_and_at_most_all_that_a_wallet_holds(
    engine: AsyncEngine, tokens: int
) -> None:
    async with engine.connect() as tx:
        with pytest.raises(InvalidRequest) as refused:
            await wallets.top_up(tx, new_id(), "live", tokens, **OPS, funding=Funding())

    assert said(refused.value) == (
        "A top-up is between 1 and 9007199254740991 tokens.",
        "tokens",
        "invalid_value",
    )


async def test_a_wallet_takes_a_token_and_all_that_it_holds_and_not_one_more(
    account: Account, engine: AsyncEngine
) -> None:
    full = (f"A wallet holds at most {MAX_TOKENS} tokens.", "tokens", "invalid_value")
    funding = Funding()
    async with engine.connect() as tx:
        one = await wallets.top_up(tx, account.id, "live", 1, **OPS, funding=funding)
        rest = await wallets.top_up(
            tx, account.id, "live", MAX_TOKENS - LIVE_TOKENS - 1, **OPS, funding=funding
        )
        with pytest.raises(InvalidRequest) as refused:
            await wallets.top_up(tx, account.id, "live", 1, **OPS, funding=funding)
        with pytest.raises(InvalidRequest) as corrected:
            await wallets.adjust(tx, account.id, "live", 1, **OPS)
        none = await wallets.adjust(tx, account.id, "live", -MAX_TOKENS, **OPS)
        again = await wallets.top_up(tx, account.id, "live", MAX_TOKENS, **OPS, funding=funding)
        await wallets.adjust(tx, account.id, "live", -MAX_TOKENS, **OPS)
        last = await wallets.adjust(tx, account.id, "live", MAX_TOKENS, **OPS)
        lines = await read_statement(tx, account.id, "live")
        await tx.rollback()

    assert [one.posted_tokens, rest.posted_tokens, none.posted_tokens] == [LIVE_TOKENS + 1, MAX_TOKENS, 0]
    assert [again.posted_tokens, last.posted_tokens, last.version] == [MAX_TOKENS, MAX_TOKENS, 7]
    assert said(refused.value) == said(corrected.value) == full
    assert {(line.reason, line.actor) for line in lines} == {("r", "ops"), ("a test", "tests")}
    assert {line.kind for line in lines[:2]} == {"adjust"}


async def test_what_a_wallet_takes_says_where_it_comes_from(account: Account, engine: AsyncEngine) -> None:
    async with engine.connect() as tx:
        await wallets.top_up(tx, account.id, "live", 5, **OPS, funding=Funding("grant", "promo", "mail", "7"))
        await wallets.adjust(tx, account.id, "live", 6, **OPS)
        await wallets.adjust(tx, account.id, "live", -7, **OPS)
        query = (
            "SELECT debit, credit, tokens, kind, source, external_ref FROM transfers WHERE account_id = :id "
        )
        query += "AND env = 'live' AND wallet_version > 1 ORDER BY wallet_version"
        moved = (await tx.execute(text(query), {"id": account.id})).all()
        await tx.rollback()

    assert [tuple(row) for row in moved] == [
        ("promo", "wallet", 5, "grant", "mail", "7"),
        ("funding", "wallet", 6, "adjust", None, None),
        ("wallet", "funding", 7, "adjust", None, None),
    ]


async def test_two_payments_of_one_source_are_two(account: Account, engine: AsyncEngine) -> None:
    async with engine.connect() as tx:
        for reference in ("7", "8", "7"):
            paid = Funding(source="bank", external_ref=reference)
            await wallets.top_up(tx, account.id, "live", 5, **OPS, funding=paid)
        after = await wallets.get_wallet(tx, account.id, "live")
        await tx.rollback()

    assert after.posted_tokens == LIVE_TOKENS + 10


async def test_a_reference_counts_in_its_own_wallet_alone(account: Account, engine: AsyncEngine) -> None:
    other, paid = await paying.open_account(engine), Funding(source="bank", external_ref="7")
    async with engine.connect() as tx:
        for who, env in ((account, "live"), (account, "test"), (other, "live")):
            await wallets.top_up(tx, who.id, env, 5, **OPS, funding=paid)
        with pytest.raises(Conflict) as refused:
            await wallets.top_up(tx, account.id, "live", 6, **OPS, funding=paid)
        counted = [
            await wallets.get_wallet(tx, account.id, "test"),
            await wallets.get_wallet(tx, other.id, "live"),
        ]
        await tx.rollback()

    assert counted == [
        Wallet(account.id, "test", TEST_TOKENS + 5, 0, 2, 2),
        Wallet(other.id, "live", LIVE_TOKENS + 5, 0, 2, 2),
    ]
    assert said(refused.value) == (
        "bank 7 was applied to this wallet before, with 5 tokens. Nothing was added. If these 6 tokens are another "
        "payment, send its own external_ref.",
        None,
        "external_ref_reused",
    )


async def test_a_wallet_that_is_not_there_is_said_to_be_not_there(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection:
        with pytest.raises(NotFound) as looked:
            await wallets.get_wallet(connection, new_id(), "live")
        with pytest.raises(NotFound) as locked:
            await wallets.lock_wallet(connection, new_id(), "live")
        mine = await wallets.get_wallet(connection, account.id, "live")

    assert (looked.value.message, locked.value.message) == (NO_WALLET, NO_WALLET)
    assert mine == Wallet(account.id, "live", LIVE_TOKENS, 0, 1, 1)


async def test_an_adjustment_beyond_what_is_there_says_what_is_there(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as tx:
        for tokens in (0, -MAX_TOKENS - 1):
            with pytest.raises(InvalidRequest) as none:
                await wallets.adjust(tx, account.id, "live", tokens, **OPS)
        with pytest.raises(Conflict) as refused:
            await wallets.adjust(tx, account.id, "live", -LIVE_TOKENS - 1, **OPS)

    wanted = f"An adjustment is up to {MAX_TOKENS} tokens above or below zero, and not zero."
    assert said(none.value) == (wanted, "tokens", "invalid_value")
    assert said(refused.value) == (
        "1000001 tokens cannot be taken from this wallet: it has 1000000, of which 0 are held for images being made, "
        "so at most 1000000 can be taken. Nothing was changed.",
        None,
        "wallet_too_low",
    )


def test_a_wallet_is_full_at_its_limit() -> None:
    wallet = Wallet(new_id(), "live", MAX_TOKENS - 5, 0, 1, 1)

    check_room(wallet, 5)
    with pytest.raises(InvalidRequest) as refused:
        check_room(wallet, 6)

    assert said(refused.value) == (f"A wallet holds at most {MAX_TOKENS} tokens.", "tokens", "invalid_value")


@pytest.mark.parametrize(
    ("funding", "param"),
    [
        (Funding(source=""), "source"),
        (Funding(source="x" * 201), "source"),
        (Funding(source="a\nb"), "source"),
        (Funding(external_ref=""), "external_ref"),
        (Funding(external_ref="x" * 201), "external_ref"),
    ],
)
def test_a_source_or_reference_has_up_to_200_printable_characters(funding: Funding, param: str) -> None:
    for good in (Funding(), Funding(source="s", external_ref="r"), Funding("", "", "s" * 200, "r" * 200)):
        check_reference(good)

    with pytest.raises(InvalidRequest) as refused:
        check_reference(funding)

    assert said(refused.value) == (f"{param} has 1 to 200 printable characters.", param, "invalid_value")


def test_the_source_of_allowances_is_no_source_of_top_ups() -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_reference(Funding(source="allowance"))

    wanted = "The source 'allowance' belongs to allowances. Name where these tokens come from."
    assert said(refused.value) == (wanted, "source", "invalid_value")


def test_what_is_left_of_a_capture_is_given_back_and_no_more() -> None:
    assert [check_amount(10, 4, wanted) for wanted in (None, 1, 6)] == [6, 1, 6]
    assert check_amount(10, 9, None) == 1
    with pytest.raises(Conflict) as wholly:
        check_amount(10, 10, None)
    with pytest.raises(Conflict) as too_much:
        check_amount(10, 4, 7)

    told = "All 10 tokens that this generation was charged have been given back already."
    assert said(wholly.value) == (told, None, "already_refunded")
    assert said(too_much.value) == (
        "7 tokens cannot be given back: of the 10 that were charged 4 were given back already, so 6 are left. "
        "Ask for at most that, or leave the amount out.",
        None,
        "refund_too_high",
    )


async def test_a_refund_says_what_was_charged_and_what_was_given_back(
    account: Account, engine: AsyncEngine
) -> None:
    async with engine.connect() as tx:
        made = await paying.capture(tx, account.id, await paying.make_key(tx, account.id), 1000)
        given = [
            await refund(tx, account.id, "live", made, cause=cause, **OPS, tokens=tokens)
            for cause, tokens in (("c", 1), ("x" * 200, 300), ("c", 700))
        ]
        await tx.rollback()

    first, second, again = given
    posted = LIVE_TOKENS - 1000
    of = Wallet(account.id, "live", posted + 1, 0, 3, 2)
    assert first == Refund(first.id, made, "c", 1, 1000, 1, of, new=True)
    assert second.wallet.posted_tokens == posted + 301
    assert second == Refund(second.id, made, "x" * 200, 300, 1000, 301, second.wallet, new=True)
    assert again == Refund(first.id, made, "c", 1, 1000, 301, again.wallet, new=False)
    assert (again.wallet.posted_tokens, again.wallet.version) == (posted + 301, 4)
    assert (again.new, first.new) == (False, True)


async def test_a_refund_that_cannot_be_says_why(account: Account, engine: AsyncEngine) -> None:
    async def refused(cause: str, tokens: int | None) -> tuple[str, str | None, str]:
        with pytest.raises((InvalidRequest, NotFound)) as raised:
            await refund(tx, account.id, "live", new_id(), cause=cause, **OPS, tokens=tokens)
        return said(raised.value)

    async with engine.connect() as tx:
        causes = [await refused(cause, None) for cause in ("", "x" * 201, "a\nb")]
        amounts = [await refused("c", tokens) for tokens in (0, -1)]
        nothing = await refused("c", 1)

    assert set(causes) == {("A cause has 1 to 200 printable characters.", "cause", "invalid_value")}
    assert set(amounts) == {("A refund is at least 1 token.", "tokens", "invalid_value")}
    assert nothing[0] == "This generation was charged nothing, so there is nothing to give back."


async def test_a_refund_does_not_overfill_a_wallet(account: Account, engine: AsyncEngine) -> None:
    async with engine.connect() as tx:
        made = await paying.capture(tx, account.id, await paying.make_key(tx, account.id), 1000)
        rest = MAX_TOKENS - LIVE_TOKENS + 1000 - 5
        await wallets.top_up(tx, account.id, "live", rest, **OPS, funding=Funding())
        with pytest.raises(InvalidRequest):
            await refund(tx, account.id, "live", made, cause="c", **OPS, tokens=6)
        given = await refund(tx, account.id, "live", made, cause="c", **OPS, tokens=5)
        await tx.rollback()

    assert given.wallet.posted_tokens == MAX_TOKENS
