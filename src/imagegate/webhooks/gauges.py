"""What an operator watches of the events: how many wait for their receivers, and for how long."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

LOOK = text(
    """
    SELECT count(*) AS waiting,
        coalesce(extract(epoch FROM now() - min(created_at)), 0)::double precision AS oldest_s
    FROM webhook_outbox WHERE state = 'pending'
    """
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """waiting: events that no receiver has taken. oldest_s: since when the oldest waits; 0 when there is none."""

    waiting: int
    oldest_s: float


async def read_waiting(connection: AsyncConnection) -> Waiting:
    """Reads only what is pending, by its partial index."""
    row = (await connection.execute(LOOK)).one()
    return Waiting(row.waiting, max(row.oldest_s, 0.0))
