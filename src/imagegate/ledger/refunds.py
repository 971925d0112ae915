"""Refunds: what a generation was charged, or a part of it, given back. Once per generation and cause."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import Conflict, InvalidRequest, NotFound
from imagegate.ledger.holds import Wallet, move
from imagegate.ledger.wallets import check_room, lock_wallet, write

LONGEST_CAUSE = 200

# Each half has a partial index of its own.
MOVED = text(
    """
    SELECT id, kind, cause, tokens, price_version FROM transfers
    WHERE account_id = :account_id AND env = :env AND generation_id = :generation_id AND kind = 'capture'
    UNION ALL
    SELECT id, kind, cause, tokens, price_version FROM transfers
    WHERE account_id = :account_id AND env = :env AND generation_id = :generation_id AND kind = 'refund'
    """
)


@dataclass(frozen=True, slots=True)
class Refund:
    """`tokens` of this refund, `refunded_tokens` of all of the generation's, this one among them.

    wallet: as it is afterwards. new: False when this cause had been refunded before, and nothing was moved.
    """

    id: UUID
    generation_id: UUID
    cause: str
    tokens: int
    captured_tokens: int
    refunded_tokens: int
    wallet: Wallet
    new: bool


async def refund(
    tx: AsyncConnection,
    account_id: UUID,
    env: str,
    generation_id: UUID,
    *,
    cause: str,
    reason: str,
    actor: str,
    tokens: int | None = None,
) -> Refund:
    """Give `tokens` of what was captured back, or all that is left of it. The wallet stays locked until `tx` ends.

    cause: 1 to 200 characters; the same cause again answers the earlier refund and moves nothing.
    Raises InvalidRequest; NotFound when the generation captured nothing from this wallet; Conflict when it has been
    refunded wholly, or when less than `tokens` is left of it.
    """
    if not 1 <= len(cause) <= LONGEST_CAUSE or not cause.isprintable():
        raise InvalidRequest(f"A cause has 1 to {LONGEST_CAUSE} printable characters.", param="cause")
    if tokens is not None and tokens < 1:
        raise InvalidRequest("A refund is at least 1 token.", param="tokens")
    wallet = await lock_wallet(tx, account_id, env)
    names = {"account_id": account_id, "env": env, "generation_id": generation_id}
    moved = (await tx.execute(MOVED, names)).all()
    captured = next((row for row in moved if row.kind == "capture"), None)
    if captured is None:
        raise NotFound("This generation was charged nothing, so there is nothing to give back.")
    refunds = {row.cause: row for row in moved if row.kind == "refund"}
    before = sum(row.tokens for row in refunds.values())
    if again := refunds.get(cause):
        kept = again.id, generation_id, cause, again.tokens, captured.tokens, before
        return Refund(*kept, wallet, new=False)
    given = check_amount(captured.tokens, before, tokens)
    check_room(wallet, given)
    after, transfer = move(wallet, tokens=given, **_told(captured, generation_id, cause, reason, actor))
    await write(tx, [after], [transfer])
    made = transfer["id"], generation_id, cause, given, captured.tokens, before + given
    return Refund(*made, after, new=True)


def check_amount(captured: int, refunded: int, wanted: int | None) -> int:
    """How many tokens to give back. Raises Conflict."""
    left = captured - refunded
    if left <= 0:
        raise Conflict(
            f"All {captured} tokens that this generation was charged have been given back already.",
            code="already_refunded",
        )
    if wanted is not None and wanted > left:
        raise Conflict(
            f"{wanted} tokens cannot be given back: of the {captured} that were charged {refunded} were given back "
            f"already, so {left} are left. Ask for at most that, or leave the amount out.",
            code="refund_too_high",
        )
    return left if wanted is None else wanted


def _told(capture: Row[Any], generation_id: UUID, cause: str, reason: str, actor: str) -> dict[str, Any]:
    return {
        "debit": "revenue",
        "credit": "wallet",
        "kind": "refund",
        "generation_id": generation_id,
        "price_version": capture.price_version,
        "cause": cause,
        "reason": reason,
        "actor": actor,
    }
