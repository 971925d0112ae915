"""What a hold, a capture and a void make of a wallet, value by value; and the locks under which they are written."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.ids import new_id
from imagegate.ledger import holds
from imagegate.ledger.holds import Wallet
from tests.conftest import LIVE_TOKENS, TEST_TOKENS, Account
from tests.ledger import paying

OWNER, GENERATION = new_id(), new_id()
WALLET = Wallet(OWNER, "live", 1000, 300, 7, 40)
ABOUT = {"account_id": OWNER, "env": "live", "generation_id": GENERATION, "price_version": 3}


def without_ids(moved: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert all(isinstance(transfer["id"], UUID) for transfer in moved)
    return [{name: value for name, value in transfer.items() if name != "id"} for transfer in moved]


def captured(tokens: int, balance_after: int) -> dict[str, Any]:
    sides = {"debit": "wallet", "credit": "revenue", "tokens": tokens, "kind": "capture"}
    return {**ABOUT, **sides, "wallet_version": 8, "balance_after": balance_after}


def test_a_hold_takes_what_is_available_and_not_a_token_more() -> None:
    assert holds.hold(WALLET, 700) == replace(WALLET, held_tokens=1000)
    assert holds.hold(WALLET, 701) is None


def test_a_released_hold_is_available_again() -> None:
    assert holds.release(WALLET, 200) == replace(WALLET, held_tokens=100)


@pytest.mark.parametrize("tokens", [150, 200])
def test_a_capture_debits_what_was_used_and_gives_the_rest_of_the_hold_back(tokens: int) -> None:
    after, moved = holds.capture(WALLET, GENERATION, 200, tokens, 3)

    assert after == Wallet(OWNER, "live", 1000 - tokens, 100, 8, 40)
    assert without_ids(moved) == [captured(tokens, 1000 - tokens)]


def test_what_exceeds_the_hold_is_a_loss_and_never_debited() -> None:
    after, moved = holds.capture(WALLET, GENERATION, 200, 201, 3)

    loss = {"debit": "loss", "credit": "revenue", "tokens": 1, "kind": "usage"}
    assert after == Wallet(OWNER, "live", 800, 100, 8, 40)
    assert without_ids(moved) == [captured(200, 800), {**ABOUT, **loss}]
    assert moved[0]["id"] != moved[1]["id"]


def test_a_capture_of_nothing_gives_the_hold_back_and_moves_nothing() -> None:
    assert holds.capture(WALLET, GENERATION, 200, 0, 3) == (replace(WALLET, held_tokens=100), [])


def test_what_comes_into_the_wallet_raises_it() -> None:
    after, transfer = holds.move(WALLET, debit="promo", credit="wallet", tokens=5, kind="grant", actor="a")

    sides = {"debit": "promo", "credit": "wallet", "tokens": 5, "kind": "grant", "actor": "a"}
    numbered = {"account_id": OWNER, "env": "live", "wallet_version": 8, "balance_after": 1005}
    assert after == Wallet(OWNER, "live", 1005, 300, 8, 40)
    assert without_ids([transfer]) == [{**numbered, **sides}]


def test_a_written_wallet_is_one_revision_further_and_says_all_it_has() -> None:
    assert WALLET.written() == replace(WALLET, revision=41)
    assert WALLET.row() == {
        "account_id": OWNER,
        "env": "live",
        "posted_tokens": 1000,
        "held_tokens": 300,
        "version": 7,
        "revision": 40,
    }


def test_a_transaction_begins_with_its_locks_in_order_and_each_once() -> None:
    a, b = UUID(int=1), UUID(int=2)

    assert holds.begin_with_locks([(b, "live"), (a, "test"), (a, "live"), (b, "live")]) == (
        f"BEGIN; SELECT 1 FROM wallets WHERE (account_id, env) IN (('{a}'::uuid, 'live'), ('{a}'::uuid, 'test'), "
        f"('{b}'::uuid, 'live')) ORDER BY account_id, env FOR NO KEY UPDATE"
    )
    with pytest.raises(ValueError, match=r"^'live; DROP' is no environment$"):
        holds.begin_with_locks([(a, "live; DROP")])


async def test_wallets_are_locked_in_order_and_missing_ones_are_not_in_the_answer(
    account: Account, engine: AsyncEngine
) -> None:
    live, test, missing = (account.id, "live"), (account.id, "test"), (new_id(), "live")

    async with engine.begin() as tx:
        locked = await holds.lock_wallets(tx, [missing, test, live, test])

    assert list(locked.items()) == [
        (live, Wallet(account.id, "live", LIVE_TOKENS, 0, 1, 1)),
        (test, Wallet(account.id, "test", TEST_TOKENS, 0, 1, 1)),
    ]


async def test_a_touched_wallet_has_a_new_revision_and_no_other(
    account: Account, engine: AsyncEngine
) -> None:
    stranger = await paying.open_account(engine)

    async with engine.begin() as tx:
        await holds.touch_wallets(tx, account.id)
        await holds.touch_wallets(tx, account.id, "test")
        revisions = [
            await revision(tx, who.id, env) for who in (account, stranger) for env in ("live", "test")
        ]

    assert revisions == [2, 3, 1, 1]


async def revision(tx: AsyncConnection, account_id: UUID, env: str) -> int:
    query = text("SELECT revision FROM wallets WHERE account_id = :id AND env = :env")
    return int((await tx.execute(query, {"id": account_id, "env": env})).scalar_one())
