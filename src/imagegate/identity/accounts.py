"""Accounts as an operator sees them: one by its id or its name, closed, and page by page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import Conflict, NotFound
from imagegate.identity.tables import accounts
from imagegate.ids import parse_public_id, public_id

MOST_COMPARED = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """closed_at: from then on its keys spend nothing. moderation: the policy of its keys that have none.

    keep_images_h, keep_prompts_h: how long they are kept, in hours; None: as the gateway's settings say.
    """

    id: UUID
    name: str
    created_at: datetime
    closed_at: datetime | None = None
    moderation: str | None = None
    keep_images_h: int | None = None
    keep_prompts_h: int | None = None

    @property
    def public_id(self) -> str:
        return public_id("acc", self.id)


async def read_account(connection: AsyncConnection, who: str) -> Account:
    """who: `acc_…` or a name. Raises NotFound."""
    account_id = parse_public_id("acc", who)
    wanted = accounts.c.name == who if account_id is None else accounts.c.id == account_id
    row = (await connection.execute(select(accounts).where(wanted))).one_or_none()
    if row is None:
        raise await absent(connection, who)
    return account_from(row)


async def absent(connection: AsyncConnection, who: str) -> NotFound:
    """For an operator: no account is called so, but another one nearly."""
    names = (await connection.execute(select(accounts.c.name).limit(MOST_COMPARED))).scalars().all()
    close = get_close_matches(who[:200], names, n=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    return NotFound(f"There is no account {who!r}.{meant} Make it: imagegate accounts create {who!r}")


async def page_accounts(
    connection: AsyncConnection, after: UUID | None, limit: int, part: str | None = None
) -> list[Account]:
    """At most `limit` accounts older than `after`, newest first. part: of their names, in any case."""
    query = select(accounts).order_by(accounts.c.id.desc()).limit(limit)
    if part is not None:
        query = query.where(accounts.c.name.icontains(part, autoescape=True))
    if after is not None:
        query = query.where(accounts.c.id < after)
    return [account_from(row) for row in await connection.execute(query)]


async def close_account(tx: AsyncConnection, account_id: UUID) -> Account:
    """Closing twice is no error. The caller has touched the wallets: from the commit on its keys spend nothing."""
    values = {"closed_at": func.coalesce(accounts.c.closed_at, text("now()"))}
    statement = update(accounts).where(accounts.c.id == account_id).values(values).returning(accounts)
    return account_from((await tx.execute(statement)).one())


async def set_moderation(tx: AsyncConnection, account_id: UUID, policy: str | None) -> Account:
    """off, flag, block, or None: the gateway's policy. In force once the keys are read again: within a second."""
    statement = (
        update(accounts).where(accounts.c.id == account_id).values(moderation=policy).returning(accounts)
    )
    return account_from((await tx.execute(statement)).one())


async def set_retention(tx: AsyncConnection, account_id: UUID, changes: Mapping[str, int | None]) -> Account:
    """changes: keep_images_h, keep_prompts_h or both, at least 24; None: as the gateway's settings say.

    Images that are there keep the time they were made with; for prompts the new one counts at once.
    """
    statement = update(accounts).where(accounts.c.id == account_id).values(changes).returning(accounts)
    return account_from((await tx.execute(statement)).one())


async def require_open(tx: AsyncConnection, account_id: UUID) -> Account:
    """The account as it stands. With its wallets locked before, it stays so until `tx` ends. Raises Conflict."""
    account = account_from((await tx.execute(select(accounts).where(accounts.c.id == account_id))).one())
    if account.closed_at is not None:
        raise Conflict(f"The account {account.name!r} is closed, for good.", code="account_closed")
    return account


def account_from(row: Row[Any]) -> Account:
    kept = (row.keep_images_h, row.keep_prompts_h)
    return Account(row.id, row.name, row.created_at, row.closed_at, row.moderation, *kept)
