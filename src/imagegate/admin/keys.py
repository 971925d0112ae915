"""What an operator does to API keys: make one, list them, rotate one, revoke one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.errors import InvalidRequest, NotFound
from imagegate.identity import accounts, keys, rotation
from imagegate.identity.audit import Actor, record
from imagegate.identity.keys import Labels
from imagegate.identity.rotation import KeyFilter, KeyPolicy
from imagegate.ids import parse_public_id, public_id
from imagegate.ledger import holds

LONGEST_OVERLAP_S = 90 * 86_400
ALL_KEYS = 100_000
"""Keys that `list_keys` shows at most."""


@dataclass(frozen=True, slots=True)
class Key:
    """`plain` is there only when the key has just been made."""

    id: UUID
    account: str
    env: str
    labels: Labels
    hint: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rotated_from: UUID | None = None
    plain: str | None = None
    moderation: str | None = None
    routing: str | None = None
    keepalive: bool = False

    def status(self, now: datetime) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def to_json(self) -> dict[str, Any]:
        secret = {"key": self.plain} if self.plain else {}
        return {
            "id": public_id("key", self.id),
            **secret,
            "hint": self.hint,
            "status": self.status(datetime.now(UTC)),
            "account": self.account,
            "env": self.env,
            "team": self.labels.team,
            "app": self.labels.app,
            "environment": self.labels.environment,
            "created_at": timestamp(self.created_at),
            "expires_at": timestamp(self.expires_at),
            "revoked_at": timestamp(self.revoked_at),
            "rotated_from": public_id("key", self.rotated_from) if self.rotated_from else None,
            "moderation": self.moderation,
            "routing": self.routing,
            "keepalive": self.keepalive,
        }


async def create_key(
    tx: AsyncConnection,
    pepper: bytes,
    account: str,
    env: str,
    labels: Labels,
    expires_at: datetime | None,
    actor: Actor,
    *,
    keepalive: bool = False,
) -> Key:
    """A new key, in plain text for the only time. account: `acc_…` or a name. Raises NotFound, Conflict (closed).

    keepalive: its slow answers begin with white space.
    """
    account_id = (await accounts.read_account(tx, account)).id
    await holds.touch_wallets(tx, account_id, env)
    await accounts.require_open(tx, account_id)
    key_id, plain = await keys.create_key(tx, pepper, account_id, env, labels, expires_at)
    if keepalive:
        await rotation.set_keepalive(tx, key_id, on=True)
    key = key_from(await rotation.get_key(tx, key_id), plain)
    await record(
        tx, actor, "keys.create", public_id("key", key_id), account_id=account_id, detail=described(key)
    )
    return key


async def rotate_key(
    tx: AsyncConnection,
    pepper: bytes,
    text: str,
    overlap_s: int,
    expires_at: datetime | None,
    actor: Actor,
) -> tuple[Key, Key]:
    """A new key with the old one's labels, limits and policies; the old one ends in `overlap_s` seconds, or earlier.

    text: `key_…` or the UUID itself; overlap_s: 0 to 90 days; expires_at: when the new key ends. Returns the new key,
    in plain text for the only time, and the old one. Raises NotFound, InvalidRequest, Conflict (not active, closed).
    """
    if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
        raise InvalidRequest(f"An overlap has 0 to {LONGEST_OVERLAP_S} seconds.", param="overlap_s")
    old_id, account_id = await touch_wallet_of(tx, text)
    await accounts.require_open(tx, account_id)
    new_id, plain = await rotation.rotate_key(tx, pepper, old_id, overlap_s, expires_at)
    new = key_from(await rotation.get_key(tx, new_id), plain)
    old = key_from(await rotation.get_key(tx, old_id))
    detail = described(new) | {"replaces": public_id("key", old_id), "ends_at": timestamp(old.expires_at)}
    await record(tx, actor, "keys.rotate", public_id("key", new_id), account_id=account_id, detail=detail)
    return new, old


async def revoke_key(tx: AsyncConnection, text: str, actor: Actor) -> Key:
    """For good; revoking twice is no error. text: `key_…` or the UUID itself. Raises NotFound."""
    key_id, account_id = await touch_wallet_of(tx, text)
    before = await rotation.get_key(tx, key_id)
    if before.revoked_at is not None:
        return key_from(before)
    await keys.revoke_key(tx, key_id)
    key = key_from(await rotation.get_key(tx, key_id))
    await record(
        tx, actor, "keys.revoke", public_id("key", key_id), account_id=account_id, detail=described(key)
    )
    return key


async def set_policy(
    tx: AsyncConnection, text: str, kind: KeyPolicy, policy: str | None, actor: Actor
) -> Key:
    """text: `key_…` or the UUID itself; policy: a word of that kind, None: the next level's. Raises NotFound."""
    key_id = get_key_id(text)
    account_id, _ = await keys.get_owner(tx, key_id)
    before = await rotation.get_key(tx, key_id)
    await rotation.set_policy(tx, key_id, kind, policy)
    key = key_from(await rotation.get_key(tx, key_id))
    detail = described(key) | {kind: policy, "before": before._mapping[kind]}
    named = public_id("key", key_id)
    await record(tx, actor, f"keys.set_{kind}", named, account_id=account_id, detail=detail)
    return key


async def set_keepalive(tx: AsyncConnection, text: str, on: bool, actor: Actor) -> Key:
    """Whether the key's slow answers begin with white space. text: `key_…` or the UUID itself. Raises NotFound."""
    key_id = get_key_id(text)
    account_id, _ = await keys.get_owner(tx, key_id)
    before = await rotation.get_key(tx, key_id)
    await rotation.set_keepalive(tx, key_id, on)
    key = key_from(await rotation.get_key(tx, key_id))
    detail = described(key) | {"keepalive": on, "before": before.keepalive}
    named = public_id("key", key_id)
    await record(tx, actor, "keys.set_keepalive", named, account_id=account_id, detail=detail)
    return key


async def touch_wallet_of(tx: AsyncConnection, text: str) -> tuple[UUID, UUID]:
    """The key's id and its account's; the wallet is locked and at a new revision. Raises NotFound."""
    key_id = get_key_id(text)
    account_id, env = await keys.get_owner(tx, key_id)
    await holds.touch_wallets(tx, account_id, env)
    return key_id, account_id


def get_key_id(text: str) -> UUID:
    """Raises NotFound."""
    key_id = read_key_id(text)
    if key_id is None:
        raise NotFound("There is no such key. List them: imagegate keys list")
    return key_id


def read_key_id(text: str) -> UUID | None:
    try:
        return parse_public_id("key", text) or UUID(text)
    except ValueError:
        return None


async def list_keys(connection: AsyncConnection, account: str | None) -> list[Key]:
    """All of them, or those of one account (`acc_…` or a name), oldest first. Raises NotFound."""
    account_id = (await accounts.read_account(connection, account)).id if account is not None else None
    rows = await rotation.page_keys(connection, KeyFilter(account_id), None, ALL_KEYS)
    return [key_from(row) for row in reversed(rows)]


async def page_keys(
    connection: AsyncConnection, wanted: KeyFilter, after: UUID | None, limit: int
) -> Sequence[Key]:
    """At most `limit` keys older than `after`, newest first."""
    return [key_from(row) for row in await rotation.page_keys(connection, wanted, after, limit)]


def described(key: Key) -> dict[str, Any]:
    """What the audit log keeps of a key: never the key itself."""
    kept = ("account", "env", "hint", "team", "app", "environment", "expires_at")
    shown = key.to_json()
    said = {"keepalive": True} if key.keepalive else {}
    return {name: shown[name] for name in kept if shown[name] is not None} | said


def key_from(row: Row[Any], plain: str | None = None) -> Key:
    return Key(
        row.id,
        row.account,
        row.env,
        Labels(row.team, row.app, row.environment),
        row.hint,
        row.created_at,
        row.expires_at,
        row.revoked_at,
        row.rotated_from,
        plain,
        row.moderation,
        row.routing,
        row.keepalive,
    )
