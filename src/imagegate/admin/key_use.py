"""When keys were last drawn with, as far as the latest generations of their wallets tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp

MOST = 2000
"""Generations of each wallet that are looked at, the latest. An index by key would cost every draw."""

LATEST = text(
    """
    WITH w AS (SELECT DISTINCT account_id, env FROM api_keys WHERE id = ANY(CAST(:keys AS uuid[]))),
    latest AS (
        SELECT w.account_id, w.env, g.key_id, g.created_at FROM w CROSS JOIN LATERAL (
            SELECT key_id, created_at FROM generations
            WHERE account_id = w.account_id AND env = w.env ORDER BY id DESC LIMIT :most
        ) g
    ),
    looked AS (SELECT account_id, env, count(*) AS n FROM latest GROUP BY 1, 2),
    used AS (SELECT key_id, max(created_at) AS at FROM latest GROUP BY 1)
    SELECT k.id, u.at, coalesce(o.n, 0) AS n FROM api_keys k
    LEFT JOIN used u ON u.key_id = k.id LEFT JOIN looked o ON o.account_id = k.account_id AND o.env = k.env
    WHERE k.id = ANY(CAST(:keys AS uuid[]))
    """
)


@dataclass(frozen=True, slots=True)
class Use:
    """at: of its last generation; None: it is none of the latest. never: there is none at all."""

    at: datetime | None = None
    never: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"last_used_at": timestamp(self.at), "never_used": self.never}


async def read_use(connection: AsyncConnection, keys: Sequence[UUID]) -> dict[UUID, Use]:
    """At most 200 keys. Looks at the latest 2,000 generations of each of their wallets."""
    rows = await connection.execute(LATEST, {"keys": list(keys), "most": MOST})
    return {row.id: Use(row.at, row.at is None and row.n < MOST) for row in rows}
