"""What an operator reads in the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.identity import accounts, audit
from imagegate.ids import public_id


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """What the list is narrowed to. None = any. account: `acc_…` or a name; since: the oldest moment."""

    actor: str | None = None
    action: str | None = None
    account: str | None = None
    since: datetime | None = None


def entry_json(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": public_id("aud", row.id),
        "at": timestamp(row.at),
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "account_id": public_id("acc", row.account_id) if row.account_id else None,
        "reason": row.reason,
        "detail": row.detail,
        "request_id": row.request_id,
    }


async def page_entries(
    connection: AsyncConnection, wanted: EntryFilter, after: UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """At most `limit` entries older than `after`, newest first. Raises NotFound for an unknown account."""
    account_id = (await accounts.read_account(connection, wanted.account)).id if wanted.account else None
    narrowed = audit.Wanted(wanted.actor, wanted.action, account_id, wanted.since)
    return await audit.page_entries(connection, narrowed, after, limit)
