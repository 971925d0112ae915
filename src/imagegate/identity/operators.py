"""Operators' keys: who may use the admin API, and for what. Shown once; the database keeps their HMAC.

A key is `igo_`, 43 base62 characters (32 random bytes) and 6 of a CRC-32. It is looked up at every request, so a
revoked one opens nothing any more from the commit on.
"""

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.errors import CallerError, Conflict, InvalidRequest, NotFound, Unauthenticated
from imagegate.identity.keys import base62, checksum, redigest
from imagegate.identity.secret import Keyring, digest, pepper_id
from imagegate.identity.tables import operator_keys
from imagegate.ids import new_id, public_id

Scope = Literal[
    "read",
    "keys:write",
    "wallets:write",
    "prices:write",
    "models:write",
    "providers:write",
    "generations:write",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SHAPE = re.compile(r"igo_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
INVALID = "The operator key is not valid: it is unknown, revoked or expired."
SHOWN = [c for c in operator_keys.c if c.name not in ("hash", "pepper_id")]
FOUND = [*SHOWN, operator_keys.c.hash]


@dataclass(frozen=True, slots=True)
class Operator:
    """One key. `hint`: its last four characters."""

    id: UUID
    name: str
    hint: str
    scopes: frozenset[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def public_id(self) -> str:
        return public_id("opk", self.id)

    @property
    def actor(self) -> str:
        """How the audit log names whoever holds the key."""
        return f"operator:{self.name}"


def mint() -> str:
    body = base62(secrets.randbits(256), 43)
    return f"igo_{body}{checksum('igo', body)}"


def is_well_formed(key: str) -> bool:
    match = SHAPE.fullmatch(key)
    return match is not None and match[2] == checksum("igo", match[1])


def is_active() -> ColumnElement[bool]:
    """By the database's clock."""
    unexpired = or_(operator_keys.c.expires_at.is_(None), operator_keys.c.expires_at > func.now())
    return and_(operator_keys.c.revoked_at.is_(None), unexpired)


async def find_operator(engine: AsyncEngine, keyring: Keyring, key: str) -> Operator:
    """Raises Unauthenticated, with one text whatever is wrong with the key."""
    if not is_well_formed(key):
        raise Unauthenticated(INVALID)
    hashes = [digest(pepper, key) for pepper in keyring.peppers]
    query = select(*FOUND).where(operator_keys.c.hash.in_(hashes), is_active())
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise Unauthenticated(INVALID)
    if row.hash != hashes[0]:
        await redigest(engine, operator_keys, row.hash, keyring.peppers[0], key)
    return operator_from(row)


async def find_active(connection: AsyncConnection, operator_id: UUID) -> Operator | None:
    """None: the key is unknown, revoked or expired."""
    query = select(*SHOWN).where(operator_keys.c.id == operator_id, is_active())
    row = (await connection.execute(query)).one_or_none()
    return operator_from(row) if row is not None else None


async def confirm(tx: AsyncConnection, operator_id: UUID) -> None:
    """The key stays as good as it is until `tx` ends: who revokes it waits. Raises Unauthenticated."""
    query = select(operator_keys.c.id).where(operator_keys.c.id == operator_id, is_active())
    if (await tx.execute(query.with_for_update(read=True))).one_or_none() is None:
        raise Unauthenticated(INVALID)


def require_scopes(operator: Operator, scopes: Collection[str]) -> None:
    """Raises a CallerError with status 403 naming what is missing."""
    missing = sorted(set(scopes) - operator.scopes)
    if missing:
        text = f"This needs an operator key with {', '.join(missing)}; yours has {', '.join(sorted(operator.scopes))}."
        refused = CallerError(text)
        refused.status, refused.type, refused.code = 403, "permission_error", "insufficient_scope"
        raise refused


async def create_operator(
    tx: AsyncConnection,
    pepper: bytes,
    name: str,
    scopes: Collection[Scope],
    expires_at: datetime | None,
    created_by: str,
) -> tuple[Operator, str]:
    """A new key, and its plain text for the only time. Raises InvalidRequest, and Conflict for a name in use.

    A name belongs to one usable key at a time, so that the audit log tells who acted.
    """
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise InvalidRequest("An operator's name has 1 to 200 printable characters.", param="name")
    if not scopes:
        raise InvalidRequest(f"Name a scope at least: {', '.join(SCOPES)}.", param="scopes")
    await tx.execute(text("LOCK TABLE operator_keys IN SHARE ROW EXCLUSIVE MODE"))
    same_name = select(operator_keys.c.id).where(operator_keys.c.name == name, is_active())
    if (await tx.execute(same_name)).first() is not None:
        raise Conflict(f"There is a usable operator key {name!r} already.", code="operator_exists")
    key = mint()
    row = {
        "id": new_id(),
        "name": name,
        "hash": digest(pepper, key),
        "pepper_id": pepper_id(pepper),
        "hint": key[-4:],
        "expires_at": expires_at,
    }
    row |= {"scopes": [scope for scope in SCOPES if scope in scopes], "created_by": created_by}
    made = (await tx.execute(insert(operator_keys).values(row).returning(*SHOWN))).one()
    return operator_from(made), key


async def page_operators(connection: AsyncConnection, after: UUID | None, limit: int) -> Sequence[Operator]:
    """At most `limit` keys older than `after`, newest first; revoked and expired ones too."""
    query = select(*SHOWN).order_by(operator_keys.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(operator_keys.c.id < after)
    return [operator_from(row) for row in await connection.execute(query)]


async def get_operator(connection: AsyncConnection, operator_id: UUID | None) -> Operator:
    """Raises NotFound."""
    query = select(*SHOWN).where(operator_keys.c.id == operator_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("There is no such operator key. List them: imagegate operators list")
    return operator_from(row)


async def revoke_operator(tx: AsyncConnection, operator_id: UUID) -> Operator:
    """Revoking twice is no error. Raises NotFound."""
    values = {"revoked_at": func.coalesce(operator_keys.c.revoked_at, text("now()"))}
    await tx.execute(update(operator_keys).where(operator_keys.c.id == operator_id).values(values))
    return await get_operator(tx, operator_id)


def operator_from(row: Row[Any]) -> Operator:
    return Operator(
        row.id,
        row.name,
        row.hint,
        frozenset(row.scopes),
        row.created_by,
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )
