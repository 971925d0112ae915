"""What one generation moved in the ledger: its capture and its refunds."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Row, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.ledger.tables import transfers

COLUMNS = (
    transfers.c.id,
    transfers.c.kind,
    transfers.c.debit,
    transfers.c.credit,
    transfers.c.tokens,
    transfers.c.cause,
    transfers.c.price_version,
    transfers.c.balance_after,
    transfers.c.reason,
    transfers.c.actor,
    transfers.c.at,
)


async def transfers_of(
    connection: AsyncConnection, account_id: UUID, env: str, generation_id: UUID
) -> Sequence[Row[tuple[object, ...]]]:
    """Oldest first, as rows of COLUMNS; tokens are positive, `debit` and `credit` say which way."""
    halves = [
        select(*COLUMNS).where(
            transfers.c.account_id == account_id,
            transfers.c.env == env,
            transfers.c.generation_id == generation_id,
            transfers.c.kind == kind,
        )
        for kind in ("capture", "refund")  # each has a partial index of its own
    ]
    both = union_all(*halves).subquery()
    return (await connection.execute(select(both).order_by(both.c.id))).all()
