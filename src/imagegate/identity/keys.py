"""Accounts and API keys: made, found, revoked. A key is shown once; the database keeps its HMAC.

A key is `igk_live_` or `igk_test_`, 43 base62 characters (32 random bytes) and 6 of a CRC-32, so that a mistyped
key is refused without a look-up and a leaked one can be recognised by scanners.
"""

import asyncio
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Table, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.domain import Principal, RateLimits
from imagegate.errors import InvalidRequest, NotFound, Unauthenticated
from imagegate.identity.accounts import absent
from imagegate.identity.secret import Keyring, digest, pepper_id
from imagegate.identity.tables import accounts, api_keys
from imagegate.ids import new_id

log = structlog.get_logger()

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SHAPE = re.compile(r"igk_(live|test)_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
INVALID = "The API key is not valid: it is unknown, revoked or expired."
CACHE_S = 1.0
CACHE_KEYS = 10_000

FIND = text(
    """
    SELECT k.account_id, k.env, k.id, k.team, k.app, k.environment,
        k.routing, coalesce(k.moderation, a.moderation), k.keepalive, a.keep_images_h,
        of_account.requests_per_min, of_account.images_per_min, of_account.concurrent,
        of_key.requests_per_min, of_key.images_per_min, of_key.concurrent, k.hash
    FROM api_keys k JOIN accounts a ON a.id = k.account_id
    LEFT JOIN limits of_account ON (of_account.account_id, of_account.env) = (k.account_id, k.env)
        AND of_account.scope = 'account' AND of_account.scope_id = ''
    LEFT JOIN limits of_key ON (of_key.account_id, of_key.env) = (k.account_id, k.env)
        AND of_key.scope = 'key' AND of_key.scope_id = k.id::text
    WHERE k.hash = ANY(:hashes) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
        AND a.closed_at IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class Labels:
    team: str | None = None
    app: str | None = None
    environment: str | None = None


def mint(env: str) -> str:
    """A new key in plain text."""
    body = base62(secrets.randbits(256), 43)
    return f"igk_{env}_{body}{checksum(env, body)}"


def is_well_formed(key: str) -> bool:
    match = SHAPE.fullmatch(key)
    return match is not None and match[3] == checksum(match[1], match[2])


def checksum(label: str, body: str) -> str:
    return base62(zlib.crc32(f"{label}{body}".encode()), 6)


def base62(number: int, width: int) -> str:
    """`width` characters of ALPHABET, zeros in front."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


class KeyCache:
    """Finds who a key belongs to. An answer is remembered for at most a second, a refusal never."""

    def __init__(self, engine: AsyncEngine, keyring: Keyring) -> None:
        self._engine = engine
        self._keyring = keyring
        self._known: dict[str, tuple[float, Principal]] = {}
        self._asking: dict[str, asyncio.Future[Principal]] = {}

    async def find(self, key: str) -> Principal:
        """Raises Unauthenticated, with one text whatever is wrong with the key."""
        if (known := self._known.get(key)) and known[0] > monotonic():
            return known[1]
        if not is_well_formed(key):
            raise Unauthenticated(INVALID)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._look_up(key))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    async def _look_up(self, key: str) -> Principal:
        """One query, however many requests of the key wait for it."""
        hashes = [digest(pepper, key) for pepper in self._keyring.peppers]
        async with self._engine.connect() as connection:
            row = (await connection.execute(FIND, {"hashes": hashes})).one_or_none()
        if row is None:
            self._known.pop(key, None)
            raise Unauthenticated(INVALID)
        if len(self._known) >= CACHE_KEYS:
            self._known.clear()
        if row.hash != hashes[0]:
            await redigest(self._engine, api_keys, row.hash, self._keyring.peppers[0], key)
        principal = principal_from(row)
        self._known[key] = (monotonic() + CACHE_S, principal)
        return principal


def principal_from(row: Sequence[Any]) -> Principal:
    """A row of FIND."""
    account_id, env, key_id, team, app, environment, routing, moderation, keepalive, keep_images_h, *more = (
        row
    )
    *rates, _ = more
    both = (RateLimits("account", *rates[:3]), RateLimits("key", *rates[3:]))
    limits = tuple(limits for limits in both if limits != RateLimits(limits.scope))
    return Principal(
        account_id,
        env,
        key_id,
        team,
        app,
        environment,
        routing,
        moderation,
        limits,
        keep_images_h=keep_images_h,
        keepalive=keepalive,
    )


async def redigest(engine: AsyncEngine, table: Table, old: bytes, pepper: bytes, key: str) -> None:
    """Keep the digest under the secret in force in the place of one under another: the only time we see the key.

    table: of callers' or of operators' keys. Where it cannot be written now, the old one is good for the next use.
    """
    values = {"hash": digest(pepper, key), "pepper_id": pepper_id(pepper)}
    try:
        async with engine.begin() as tx:
            await tx.execute(update(table).where(table.c.hash == old).values(values))
    except (DBAPIError, OSError, TimeoutError) as error:
        log.warning("redigest_failed", error=type(error).__name__)


async def create_account(tx: AsyncConnection, name: str) -> UUID:
    """Raises InvalidRequest when the name is not 1 to 200 characters, with status 409 when it is taken."""
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise InvalidRequest("An account's name has 1 to 200 printable characters.", param="name")
    account_id = new_id()
    try:
        await tx.execute(insert(accounts), {"id": account_id, "name": name})
    except IntegrityError:
        text = f"There is an account {name!r} already. List them: imagegate accounts list"
        taken = InvalidRequest(text, code="account_exists", param="name")
        taken.status = 409
        raise taken from None
    return account_id


async def find_account(connection: AsyncConnection, name: str) -> UUID | None:
    return (
        await connection.execute(select(accounts.c.id).where(accounts.c.name == name))
    ).scalar_one_or_none()


async def get_account(connection: AsyncConnection, name: str) -> UUID:
    """Raises NotFound."""
    account_id = await find_account(connection, name)
    if account_id is None:
        raise await absent(connection, name)
    return account_id


async def list_accounts(connection: AsyncConnection) -> Sequence[Any]:
    return (await connection.execute(select(accounts).order_by(accounts.c.id))).all()


async def create_key(
    tx: AsyncConnection,
    pepper: bytes,
    account_id: UUID,
    env: str,
    labels: Labels,
    expires_at: datetime | None,
) -> tuple[UUID, str]:
    """The key's id, and the key itself for the only time it can be seen."""
    key_id, key = new_id(), mint(env)
    row = {"account_id": account_id, "env": env, "id": key_id, "hint": key[-4:]}
    row |= {"hash": digest(pepper, key), "pepper_id": pepper_id(pepper)}
    labelled = {"team": labels.team, "app": labels.app, "environment": labels.environment}
    await tx.execute(insert(api_keys), {**row, **labelled, "expires_at": expires_at})
    return key_id, key


async def list_keys(connection: AsyncConnection, account_id: UUID | None) -> Sequence[Any]:
    columns = [c for c in api_keys.c if c.name not in ("hash", "pepper_id")]
    query = select(*columns, accounts.c.name.label("account")).join(
        accounts, accounts.c.id == api_keys.c.account_id
    )
    if account_id is not None:
        query = query.where(api_keys.c.account_id == account_id)
    return (await connection.execute(query.order_by(api_keys.c.id))).all()


async def get_owner(connection: AsyncConnection, key_id: UUID) -> tuple[UUID, str]:
    """The account and environment of a key. Raises NotFound."""
    query = select(api_keys.c.account_id, api_keys.c.env).where(api_keys.c.id == key_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("There is no such key. List them: imagegate keys list")
    return row.account_id, row.env


async def revoke_key(tx: AsyncConnection, key_id: UUID) -> None:
    """Revoking twice is no error. The caller has touched the wallet: from the commit on nothing is spent with it."""
    values = {"revoked_at": text("coalesce(revoked_at, now())")}
    await tx.execute(update(api_keys).where(api_keys.c.id == key_id).values(values))
