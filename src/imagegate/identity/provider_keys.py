"""Our keys at providers as rows: added by operators, sealed, never shown again. Of each its last four characters stay.

Keys of the environment are no rows; they are known as `env:1`, `env:2` …
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import Row, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import Conflict, InvalidRequest, NotFound
from imagegate.identity.sealing import CannotOpen, is_sealed_with, seal, unseal
from imagegate.identity.tables import provider_keys
from imagegate.ids import new_id, public_id

KIND = "pvk"
SHAPE = re.compile(r"[!-+\--~]{1,4096}")
"""Visible ASCII without a comma, which parts keys in the environment."""
MOST_KEYS = 50
"""Usable keys of one provider."""
HINT_CHARS, LEAST_HINTED_CHARS = 4, 12


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One row. secret None: it cannot be opened, and `fault` says why, continuing the key's name."""

    id: UUID
    provider: str
    name: str
    hint: str
    created_by: str
    created_at: datetime
    revoked_at: datetime | None
    secret: SecretStr | None = field(default=None, repr=False)
    fault: str | None = None

    @property
    def public_id(self) -> str:
        return public_id(KIND, self.id)


def hint_of(key: str) -> str:
    """The last four characters; nothing of a key so short that they would tell much of it."""
    return key[-HINT_CHARS:] if len(key) >= LEAST_HINTED_CHARS else ""


async def add(
    tx: AsyncConnection, sealing: Sequence[bytes], provider: str, name: str, plain: str, created_by: str
) -> StoredKey:
    """Seal and keep a key. The caller keeps others from adding until `tx` ends.

    Raises InvalidRequest for what no key or name can be, and Conflict for a name or a key that is in use.
    """
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise InvalidRequest("A key's name has 1 to 200 printable characters.", param="name")
    if not SHAPE.fullmatch(plain):
        text = "A provider's key has 1 to 4096 visible ASCII characters, no blank and no comma."
        raise InvalidRequest(text, param="key")
    usable = [key for key in await load(tx, sealing) if key.provider == provider]
    if len(usable) >= MOST_KEYS:
        text = f"{provider} has {MOST_KEYS} keys already. Revoke one first: imagegate providers revoke-key ID"
        raise Conflict(text, code="too_many_provider_keys")
    for known in usable:
        if known.name == name:
            text = f"{provider} has a key named {name!r} already: {known.public_id}"
            raise Conflict(text, code="provider_key_exists")
        if known.secret is not None and known.secret.get_secret_value() == plain:
            text = f"This is the key of {known.public_id} ({known.name}) already."
            raise Conflict(text, code="provider_key_exists")
    id_ = new_id()
    row = {"id": id_, "provider": provider, "name": name, "hint": hint_of(plain), "created_by": created_by}
    row["sealed"] = seal(sealing, plain, bound(id_, provider))
    made = (await tx.execute(insert(provider_keys).values(row).returning(provider_keys))).one()
    return opened(sealing, made)


async def load(connection: AsyncConnection, sealing: Sequence[bytes]) -> list[StoredKey]:
    """Every key that is not revoked, oldest first, each opened where it can be."""
    query = select(provider_keys).where(provider_keys.c.revoked_at.is_(None)).order_by(provider_keys.c.id)
    return [opened(sealing, row) for row in await connection.execute(query)]


async def list_keys(
    connection: AsyncConnection, sealing: Sequence[bytes], provider: str, most_revoked: int = 20
) -> Sequence[StoredKey]:
    """The provider's usable keys, oldest first, then the newest of those that were revoked."""
    usable = [key for key in await load(connection, sealing) if key.provider == provider]
    revoked = (provider_keys.c.provider == provider) & provider_keys.c.revoked_at.is_not(None)
    query = select(provider_keys).where(revoked).order_by(provider_keys.c.id.desc()).limit(most_revoked)
    return [*usable, *(key_from(row) for row in await connection.execute(query))]


async def get(connection: AsyncConnection, key_id: UUID | None) -> StoredKey:
    """Its row; the key itself stays sealed. Raises NotFound."""
    row = (await connection.execute(select(provider_keys).where(provider_keys.c.id == key_id))).one_or_none()
    if row is None:
        raise NotFound("There is no such provider key. List them: imagegate providers list")
    return key_from(row)


async def revoke(tx: AsyncConnection, key_id: UUID) -> StoredKey:
    """For good, and its sealed bytes are emptied. Revoking twice is no error. Raises NotFound."""
    values = {"revoked_at": func.coalesce(provider_keys.c.revoked_at, text("now()")), "sealed": b""}
    await tx.execute(update(provider_keys).where(provider_keys.c.id == key_id).values(values))
    return await get(tx, key_id)


async def reseal(tx: AsyncConnection, sealing: Sequence[bytes]) -> int:
    """Seal with the first key what another has sealed. How many rows that were; what no key opens stays as it is."""
    await tx.execute(text("LOCK TABLE provider_keys IN SHARE ROW EXCLUSIVE MODE"))
    done = 0
    for row in (await tx.execute(select(provider_keys).where(provider_keys.c.revoked_at.is_(None)))).all():
        if is_sealed_with(sealing[0], row.sealed) or (secret := opened(sealing, row).secret) is None:
            continue
        sealed = seal(sealing, secret.get_secret_value(), bound(row.id, row.provider))
        await tx.execute(update(provider_keys).where(provider_keys.c.id == row.id).values(sealed=sealed))
        done += 1
    return done


def bound(id_: UUID, provider: str) -> bytes:
    return b"provider_keys.sealed" + id_.bytes + provider.encode()


def opened(sealing: Sequence[bytes], row: Row[Any]) -> StoredKey:
    try:
        return key_from(row, secret=SecretStr(unseal(sealing, row.sealed, bound(row.id, row.provider))))
    except CannotOpen as error:
        return key_from(row, fault=error.message)


def key_from(row: Row[Any], *, secret: SecretStr | None = None, fault: str | None = None) -> StoredKey:
    return StoredKey(
        row.id,
        row.provider,
        row.name,
        row.hint,
        row.created_by,
        row.created_at,
        row.revoked_at,
        secret,
        fault,
    )
