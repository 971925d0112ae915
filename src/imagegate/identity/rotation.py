"""API keys as an operator sees them: page by page, and one that takes another's place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, func, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import Conflict, NotFound
from imagegate.identity.keys import Labels, create_key
from imagegate.identity.tables import accounts, api_keys, limits

KeyStatus = Literal["active", "revoked", "expired"]
KeyPolicy = Literal["moderation", "routing"]
SHOWN = [c for c in api_keys.c if c.name not in ("hash", "pepper_id")]


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """What a list of keys is narrowed to. None = any."""

    account_id: UUID | None = None
    env: str | None = None
    status: KeyStatus | None = None


def select_keys() -> Select[Any]:
    """Keys without their hashes, each with the name of its account."""
    named = accounts.c.name.label("account")
    return select(*SHOWN, named).join(accounts, accounts.c.id == api_keys.c.account_id)


async def get_key(connection: AsyncConnection, key_id: UUID) -> Row[Any]:
    """Raises NotFound."""
    query = select_keys().where(api_keys.c.id == key_id)
    row: Row[Any] | None = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("There is no such key. List them: imagegate keys list")
    return row


async def page_keys(
    connection: AsyncConnection, wanted: KeyFilter, after: UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """At most `limit` keys older than `after`, newest first."""
    query = select_keys().order_by(api_keys.c.id.desc()).limit(limit)
    if wanted.account_id is not None:
        query = query.where(api_keys.c.account_id == wanted.account_id)
    if wanted.env is not None:
        query = query.where(api_keys.c.env == wanted.env)
    if wanted.status is not None:
        query = query.where(in_status(wanted.status))
    if after is not None:
        query = query.where(api_keys.c.id < after)
    rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
    return rows


def in_status(status: KeyStatus) -> ColumnElement[bool]:
    """By the database's clock. A key that was revoked and then expired is revoked."""
    revoked = api_keys.c.revoked_at.is_not(None)
    expired = func.coalesce(api_keys.c.expires_at <= func.now(), False)
    by_name = {"revoked": revoked, "expired": and_(~revoked, expired), "active": and_(~revoked, ~expired)}
    return by_name[status]


async def rotate_key(
    tx: AsyncConnection, pepper: bytes, old_id: UUID, overlap_s: int, expires_at: datetime | None
) -> tuple[UUID, str]:
    """A key in the old one's place: same account, labels, limits and policies; its budgets begin anew.

    The caller has touched the wallet. expires_at: when the new key ends; None = never. The old key ends `overlap_s`
    seconds from now, or when it would have, whichever comes first. Returns the new key's id and its plain text.
    Raises NotFound, and Conflict for a key that is revoked or expired.
    """
    usable = select(api_keys).where(api_keys.c.id == old_id, in_status("active"))
    old = (await tx.execute(usable)).one_or_none()
    if old is None:
        await get_key(tx, old_id)
        raise Conflict("This key is revoked or expired; make a new one.", code="key_not_active")
    labels = Labels(old.team, old.app, old.environment)
    new_id, plain = await create_key(tx, pepper, old.account_id, old.env, labels, expires_at)
    ends = func.least(api_keys.c.expires_at, text("now() + make_interval(secs => :overlap_s)"))
    same = {"moderation": old.moderation, "routing": old.routing, "keepalive": old.keepalive}
    kept = {"rotated_from": old_id, **same}
    await tx.execute(update(api_keys).where(api_keys.c.id == new_id).values(kept))
    ending = update(api_keys).where(api_keys.c.id == old_id).values(expires_at=ends)
    await tx.execute(ending, {"overlap_s": overlap_s})
    await copy_limits(tx, old, new_id)
    return new_id, plain


async def set_policy(tx: AsyncConnection, key_id: UUID, kind: KeyPolicy, policy: str | None) -> None:
    """policy: a word of that kind; None: the next level's counts. In force once the key is read again: in a second."""
    await tx.execute(update(api_keys).where(api_keys.c.id == key_id).values({kind: policy}))


async def set_keepalive(tx: AsyncConnection, key_id: UUID, on: bool) -> None:
    """Whether its slow answers begin with white space. In force once the key is read again: within a second."""
    await tx.execute(update(api_keys).where(api_keys.c.id == key_id).values(keepalive=on))


async def copy_limits(tx: AsyncConnection, old: Row[Any], new_id: UUID) -> None:
    """Whoever has the new key may draw as much as with the old one."""
    changed = {"scope_id": literal(str(new_id))}
    columns = [changed.get(c.name, c).label(c.name) for c in limits.c]
    own = select(*columns).where(
        limits.c.account_id == old.account_id,
        limits.c.env == old.env,
        limits.c.scope == "key",
        limits.c.scope_id == str(old.id),
    )
    await tx.execute(insert(limits).from_select([c.name for c in limits.c], own))
