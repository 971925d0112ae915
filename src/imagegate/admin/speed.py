"""How long callers waited for images, as an operator looks at it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

MOST = 5_000
"""Generations that are looked at, the latest: a sample that says enough, and is read in a moment."""

WAITS = text(
    """
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s) AS p50_s,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY s) AS p95_s
    FROM (SELECT extract(epoch FROM settled_at - created_at)::float8 AS s FROM generations
        WHERE created_at >= :since AND env = :env AND state = 'captured'
        ORDER BY created_at DESC LIMIT :most) latest
    """
)


@dataclass(frozen=True, slots=True)
class Waits:
    """From the opening to the capture, in seconds. None: nothing was made."""

    p50_s: float | None
    p95_s: float | None


async def read_waits(connection: AsyncConnection, since: datetime, env: str) -> Waits:
    row = (await connection.execute(WAITS, {"since": since, "env": env, "most": MOST})).one()
    return Waits(row.p50_s, row.p95_s)
