"""Wallets: made with their account, shown, topped up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import InvalidRequest, NotFound
from imagegate.ledger.holds import Wallet, insert_transfers, lock_wallets, move, update_wallets
from imagegate.ledger.tables import transfers, wallets

WRITE = f"WITH moved AS ({insert_transfers('$1')}) {update_wallets('$2')}"
MAX_TOKENS = 2**53 - 1
"""Largest top-up and balance, in tokens: what JSON readers everywhere hold exactly."""


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
    Raises InvalidRequest and NotFound.
    """
    if not 0 < tokens <= MAX_TOKENS:
        raise InvalidRequest(f"A top-up is between 1 and {MAX_TOKENS} tokens.", param="tokens")
    locked = await lock_wallets(tx, [(account_id, env)])
    if (account_id, env) not in locked:
        raise NotFound("There is no such wallet.")
    wallet = locked[account_id, env]
    if await _applied(tx, wallet, funding):
        return wallet
    if wallet.posted_tokens + tokens > MAX_TOKENS:
        raise InvalidRequest(f"A wallet holds at most {MAX_TOKENS} tokens.", param="tokens")
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


async def _applied(tx: AsyncConnection, wallet: Wallet, funding: Funding) -> bool:
    if funding.external_ref is None:
        return False
    query = select(transfers.c.id).where(
        transfers.c.account_id == wallet.account_id,
        transfers.c.env == wallet.env,
        transfers.c.source == funding.source,
        transfers.c.external_ref == funding.external_ref,
    )
    return (await tx.execute(query)).first() is not None


async def write(tx: AsyncConnection, changed: Sequence[Wallet], moved: Sequence[dict[str, Any]]) -> None:
    """Write wallets that are locked by `tx` together with the transfers that changed them."""
    await tx.exec_driver_sql(WRITE, (to_json(moved).decode(), to_json([w.row() for w in changed]).decode()))
