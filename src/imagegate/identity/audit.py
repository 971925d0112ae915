"""The audit log: who changed what, when and why. Appended, never changed; it holds no secret."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import InvalidRequest
from imagegate.identity.tables import audit_log
from imagegate.ids import new_id

LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts and why, as it is kept beside every change. name: `cli:root`, `operator:billing` …"""

    name: str
    reason: str
    request_id: str | None = None


def said(reason: str) -> str:
    """A reason is kept for ever beside what it explains, so it must say something. Raises InvalidRequest."""
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise InvalidRequest(f"A reason has 1 to {LONGEST_REASON} characters.", param="reason")
    return reason.strip()


async def record(
    tx: AsyncConnection,
    actor: Actor,
    action: str,
    target: str,
    *,
    account_id: UUID | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Append one entry, in the transaction of the change itself.

    action: noun.verb, e.g. `keys.revoke`. target: a public id or a name. detail: JSON values, before and after.
    """
    row = {
        "id": new_id(),
        "actor": actor.name,
        "action": action,
        "target": target,
        "account_id": account_id,
        "reason": said(actor.reason),
        "detail": detail,
        "request_id": actor.request_id,
    }
    await tx.execute(insert(audit_log), row)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list of entries is narrowed to. None = any. since: the oldest moment, by the database's clock."""

    actor: str | None = None
    action: str | None = None
    account_id: UUID | None = None
    since: datetime | None = None


async def page_entries(
    connection: AsyncConnection, wanted: Wanted, after: UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """At most `limit` entries older than `after`, newest first."""
    query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
    for column in (audit_log.c.actor, audit_log.c.action, audit_log.c.account_id):
        if (value := getattr(wanted, column.name)) is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(audit_log.c.at >= wanted.since)
    if after is not None:
        query = query.where(audit_log.c.id < after)
    return (await connection.execute(query)).all()
