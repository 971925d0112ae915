"""Wallets: made with their account, shown, topped up, corrected."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import Conflict, InvalidRequest, NotFound
from imagegate.ledger.holds import Wallet, insert_transfers, lock_wallets, move, update_wallets
from imagegate.ledger.tables import transfers, wallets

WRITE = f"WITH moved AS ({insert_transfers('$1')}) {update_wallets('$2')}"
MAX_TOKENS = 2**53 - 1
"""Largest top-up and balance, in tokens: what JSON readers everywhere hold exactly."""
LONGEST_REFERENCE = 200
ALLOWANCE = "allowance"
"""The source of the transfers that allowances make, and of no others."""


@dataclass(frozen=True, slots=True)
class Funding:
    """Where tokens of a top-up come from. `external_ref` makes it apply once per account and source."""

    kind: str = "top_up"
    debit: str = "funding"
    source: str = "operator"
    external_ref: str | None = None


async def create_wallets(tx: AsyncConnection, account_id: UUID) -> None:
    """An empty live and an empty test wallet."""
    await tx.execute(insert(wallets), [{"account_id": account_id, "env": env} for env in ("live", "test")])


async def get_wallet(connection: AsyncConnection, account_id: UUID, env: str) -> Wallet:
    """The wallet as it stands, not locked. Raises NotFound."""
    query = select(wallets).where(wallets.c.account_id == account_id, wallets.c.env == env)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("There is no such wallet.")
    return Wallet(*row)


async def top_up(
    tx: AsyncConnection, account_id: UUID, env: str, tokens: int, *, reason: str, actor: str, funding: Funding
) -> Wallet:
    """Add `tokens` (1 … 2^53-1) to the wallet, which stays locked until `tx` ends.

    Returns the wallet after it; with an external_ref that was seen before, the wallet as it is.
    Raises InvalidRequest, NotFound, and Conflict when the external_ref was seen with another amount.
    """
    if not 0 < tokens <= MAX_TOKENS:
        raise InvalidRequest(f"A top-up is between 1 and {MAX_TOKENS} tokens.", param="tokens")
    check_reference(funding)
    wallet = await lock_wallet(tx, account_id, env)
    earlier = await find_by_reference(tx, wallet, funding)
    if earlier is not None:
        if earlier != tokens:
            raise Conflict(
                f"{funding.source} {funding.external_ref} was applied to this wallet before, with {earlier} tokens. "
                f"Nothing was added. If these {tokens} tokens are another payment, send its own external_ref.",
                code="external_ref_reused",
            )
        return wallet
    check_room(wallet, tokens)
    after, transfer = move(
        wallet,
        debit=funding.debit,
        credit="wallet",
        tokens=tokens,
        kind=funding.kind,
        source=funding.source,
        external_ref=funding.external_ref,
        reason=reason,
        actor=actor,
    )
    await write(tx, [after], [transfer])
    return after


async def adjust(
    tx: AsyncConnection, account_id: UUID, env: str, tokens: int, *, reason: str, actor: str
) -> Wallet:
    """Correct the wallet by `tokens`, above or below zero, at most 2^53-1 either way.

    Returns the wallet after it, which stays locked until `tx` ends. Raises InvalidRequest, NotFound, and Conflict
    when the wallet has fewer tokens than are to be taken; those held for images being made cannot be taken.
    """
    if tokens == 0 or abs(tokens) > MAX_TOKENS:
        raise InvalidRequest(
            f"An adjustment is up to {MAX_TOKENS} tokens above or below zero, and not zero.", param="tokens"
        )
    wallet = await lock_wallet(tx, account_id, env)
    check_room(wallet, tokens)
    if wallet.available_tokens + tokens < 0:
        raise Conflict(
            f"{-tokens} tokens cannot be taken from this wallet: it has {wallet.posted_tokens}, of which "
            f"{wallet.held_tokens} are held for images being made, so at most {wallet.available_tokens} can be taken. "
            "Nothing was changed.",
            code="wallet_too_low",
        )
    debit, credit = ("funding", "wallet") if tokens > 0 else ("wallet", "funding")
    after, transfer = move(
        wallet, debit=debit, credit=credit, tokens=abs(tokens), kind="adjust", reason=reason, actor=actor
    )
    await write(tx, [after], [transfer])
    return after


async def lock_wallet(tx: AsyncConnection, account_id: UUID, env: str) -> Wallet:
    """The wallet, locked until `tx` ends. Raises NotFound."""
    locked = await lock_wallets(tx, [(account_id, env)])
    if (account_id, env) not in locked:
        raise NotFound("There is no such wallet.")
    return locked[account_id, env]


def check_room(wallet: Wallet, tokens: int) -> None:
    """Raises InvalidRequest when the wallet would hold more than it can."""
    if wallet.posted_tokens + tokens > MAX_TOKENS:
        raise InvalidRequest(f"A wallet holds at most {MAX_TOKENS} tokens.", param="tokens")


def check_reference(funding: Funding) -> None:
    """Raises InvalidRequest for a source or reference that is empty, too long, or not for top-ups."""
    for param, value in (("source", funding.source), ("external_ref", funding.external_ref)):
        if value is not None and not (1 <= len(value) <= LONGEST_REFERENCE and value.isprintable()):
            raise InvalidRequest(f"{param} has 1 to {LONGEST_REFERENCE} printable characters.", param=param)
    if funding.source == ALLOWANCE:
        raise InvalidRequest(
            f"The source {ALLOWANCE!r} belongs to allowances. Name where these tokens come from.",
            param="source",
        )


async def find_by_reference(tx: AsyncConnection, wallet: Wallet, funding: Funding) -> int | None:
    """The tokens that this source and reference moved before."""
    if funding.external_ref is None:
        return None
    query = select(transfers.c.tokens).where(
        transfers.c.account_id == wallet.account_id,
        transfers.c.env == wallet.env,
        transfers.c.source == funding.source,
        transfers.c.external_ref == funding.external_ref,
    )
    return (await tx.execute(query)).scalar()


async def write(tx: AsyncConnection, changed: Sequence[Wallet], moved: Sequence[dict[str, Any]]) -> None:
    """Write wallets that are locked by `tx` together with the transfers that changed them."""
    await tx.exec_driver_sql(WRITE, (to_json(moved).decode(), to_json([w.row() for w in changed]).decode()))
