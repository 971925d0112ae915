"""A wallet's statement: its transfers, newest first."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import InvalidRequest
from imagegate.ledger.tables import transfers

MOST_LINES = 1000
"""Of one page."""


@dataclass(frozen=True, slots=True)
class Line:
    """One transfer into (tokens > 0) or out of (tokens < 0) the wallet.

    version: counts the wallet's transfers from 1 without gaps; it is the cursor of a page.
    """

    id: UUID
    version: int
    at: datetime
    kind: str
    tokens: int
    balance_after: int
    generation_id: UUID | None
    cause: str | None
    price_version: int | None
    source: str | None
    external_ref: str | None
    reason: str | None
    actor: str | None


async def read_statement(
    connection: AsyncConnection, account_id: UUID, env: str, *, after: int | None = None, limit: int = 100
) -> list[Line]:
    """At most `limit` (1 … 1,000) lines, newest first; with `after`, those that follow the line of that version."""
    if not 1 <= limit <= MOST_LINES:
        raise InvalidRequest(f"A page has 1 to {MOST_LINES} lines.", param="limit")
    t = transfers.c
    query = (
        select(transfers)
        .where(t.account_id == account_id, t.env == env, t.wallet_version.is_not(None))
        .order_by(t.wallet_version.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(t.wallet_version < after)
    return [
        Line(
            row.id,
            row.wallet_version,
            row.at,
            row.kind,
            row.tokens if row.credit == "wallet" else -row.tokens,
            row.balance_after,
            row.generation_id,
            row.cause,
            row.price_version,
            row.source,
            row.external_ref,
            row.reason,
            row.actor,
        )
        for row in await connection.execute(query)
    ]
