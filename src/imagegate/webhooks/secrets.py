"""What an account's webhooks are signed with: 32 random bytes, sealed at rest, made when they are first needed.

After a rotation the old secret signs beside the new one for a while, so that receivers can change at leisure.
"""

import secrets as chance
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ARRAY, Row, Select, Uuid, any_, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import Conflict, OperatorError
from imagegate.ids import new_id, public_id
from imagegate.signing import read_secret, write_secret
from imagegate.webhooks.tables import webhook_secrets

log = structlog.get_logger()

SECRET_BYTES = 32
MOST_SIGNING = 5
"""How many secrets sign at a time, whoever rotates how often."""


@dataclass(frozen=True, slots=True)
class Seals:
    """How secrets are sealed and opened again; both also take the bytes that a secret is bound to."""

    seal: Callable[[str, bytes], bytes] = field(repr=False)
    unseal: Callable[[bytes, bytes], str] = field(repr=False)
    is_newest: Callable[[bytes], bool]
    """Whether sealed bytes are under the key that seals now."""


async def get_secret(tx: AsyncConnection, seals: Seals, account_id: UUID) -> tuple[str, bool]:
    """The secret as receivers are given it, `whsec_…`, and whether it was made just now. Raises CannotOpen."""
    current = select_secrets(account_id).where(webhook_secrets.c.retires_at.is_(None))
    row = (await tx.execute(current)).one_or_none()
    if row is not None:
        return opened(seals, row), False
    made = await make(tx, seals, account_id)
    return opened(seals, (await tx.execute(current)).one()), made


async def read_signing(
    tx: AsyncConnection, seals: Seals, accounts: Collection[UUID]
) -> dict[UUID, tuple[bytes, ...]]:
    """By account the bytes of all secrets that sign now, newest first; left out where they cannot be opened."""
    found = await read_valid(tx, accounts)
    if missing := [account_id for account_id in accounts if not found[account_id]]:
        for account_id in missing:
            await make(tx, seals, account_id)
        found |= await read_valid(tx, missing)
    signing = {}
    for account_id, rows in found.items():
        try:
            signing[account_id] = tuple(read_secret(opened(seals, row)) for row in rows[:MOST_SIGNING])
        except OperatorError as error:
            log.error("webhook_secret_unusable", account=public_id("acc", account_id), why=error.message)
    return signing


async def read_valid(tx: AsyncConnection, accounts: Collection[UUID]) -> dict[UUID, list[Row[Any]]]:
    c = webhook_secrets.c
    theirs = c.account_id == any_(literal(list(accounts), ARRAY(Uuid)))
    valid = or_(c.retires_at.is_(None), c.retires_at > func.now())
    found: dict[UUID, list[Row[Any]]] = {account_id: [] for account_id in accounts}
    for row in await tx.execute(select(webhook_secrets).where(theirs, valid).order_by(c.id.desc())):
        found[row.account_id].append(row)
    return found


async def rotate(tx: AsyncConnection, seals: Seals, account_id: UUID, keep_old_s: int) -> str:
    """A new secret, `whsec_…`. The old one signs beside it for `keep_old_s` seconds more. Raises Conflict."""
    c = webhook_secrets.c
    await tx.execute(delete(webhook_secrets).where(c.account_id == account_id, c.retires_at <= func.now()))
    retire = update(webhook_secrets).where(c.account_id == account_id, c.retires_at.is_(None))
    ends = text("now() + make_interval(secs => :keep_old_s)")
    await tx.execute(retire.values(retires_at=ends), {"keep_old_s": keep_old_s})
    if not await make(tx, seals, account_id):
        raise Conflict("This secret was rotated by somebody else just now.", code="webhook_secret_rotated")
    return (await get_secret(tx, seals, account_id))[0]


async def make(tx: AsyncConnection, seals: Seals, account_id: UUID) -> bool:
    """False: somebody else made one at the same moment, which now is there to be read."""
    id_ = new_id()
    plain = write_secret(chance.token_bytes(SECRET_BYTES))
    row = {"account_id": account_id, "id": id_, "sealed": seals.seal(plain, bound(account_id, id_))}
    statement = insert(webhook_secrets).values(row).on_conflict_do_nothing().returning(webhook_secrets.c.id)
    return (await tx.execute(statement)).first() is not None


async def reseal(tx: AsyncConnection, seals: Seals) -> int:
    """Seal anew what another key has sealed. How many rows that were; what cannot be opened stays as it is."""
    await tx.execute(text("LOCK TABLE webhook_secrets IN SHARE ROW EXCLUSIVE MODE"))
    done, c = 0, webhook_secrets.c
    for row in (await tx.execute(select(webhook_secrets))).all():
        if seals.is_newest(row.sealed):
            continue
        try:
            plain = opened(seals, row)
        except OperatorError as error:
            log.error("webhook_secret_unusable", account=public_id("acc", row.account_id), why=error.message)
            continue
        sealed = seals.seal(plain, bound(row.account_id, row.id))
        one = update(webhook_secrets).where(c.account_id == row.account_id, c.id == row.id)
        await tx.execute(one.values(sealed=sealed))
        done += 1
    return done


def select_secrets(account_id: UUID) -> Select[Any]:
    return select(webhook_secrets).where(webhook_secrets.c.account_id == account_id)


def opened(seals: Seals, row: Row[Any]) -> str:
    return seals.unseal(row.sealed, bound(row.account_id, row.id))


def bound(account_id: UUID, id_: UUID) -> bytes:
    return b"webhook" + account_id.bytes + id_.bytes
