"""Where an account's webhooks go when the request does not say it: one URL for live and one for test."""

from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.webhooks.tables import webhook_endpoints


async def find_endpoint(connection: AsyncConnection, account_id: UUID, env: str) -> str | None:
    """One read by primary key."""
    query = select(webhook_endpoints.c.url).where(*of(account_id, env))
    url: str | None = (await connection.execute(query)).scalar_one_or_none()
    return url


async def set_endpoint(tx: AsyncConnection, account_id: UUID, env: str, url: str) -> None:
    """For the jobs that are accepted from now on; the caller has checked the URL."""
    row = {"account_id": account_id, "env": env, "url": url}
    statement = insert(webhook_endpoints).values(row)
    changed = {"url": url, "created_at": func.now()}
    await tx.execute(statement.on_conflict_do_update(index_elements=["account_id", "env"], set_=changed))


async def unset_endpoint(tx: AsyncConnection, account_id: UUID, env: str) -> None:
    await tx.execute(delete(webhook_endpoints).where(*of(account_id, env)))


def of(account_id: UUID, env: str) -> tuple[ColumnElement[bool], ...]:
    return webhook_endpoints.c.account_id == account_id, webhook_endpoints.c.env == env
