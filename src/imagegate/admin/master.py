"""The master secret changes: in one transaction all is sealed anew and the newest secret comes into force."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.catalogue.prices import bump_version
from imagegate.errors import Conflict
from imagegate.identity import provider_keys
from imagegate.identity.audit import Actor, record
from imagegate.identity.secret import VERSION, Keyring, pepper_id
from imagegate.registry import seals_of
from imagegate.webhooks import secrets as webhook_secrets

IN_FORCE = text("SELECT value FROM instance WHERE name = 'secret_fingerprint' FOR UPDATE")
TURN = text("UPDATE instance SET value = :fingerprint WHERE name = 'secret_fingerprint'")
BEHIND = text(
    """
    SELECT count(*) FROM workers
    WHERE lease_until > now() AND NOT coalesce(:fingerprint = ANY(secrets), false)
    """
)
ALIVE = text("SELECT count(*) FROM workers WHERE lease_until > now()")
TABLES = {"callers": "api_keys", "operators": "operator_keys"}
USABLE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
SHOWN_CHARS = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """fingerprint: of the secret in force. old_*: usable keys whose digest no secret but an older one explains.

    sealed_before: secrets of providers and webhooks that the one in force did not seal. behind: running processes that
    do not accept the newest.
    """

    fingerprint: str
    newest: bool
    known: int
    old_callers: int
    old_operators: int
    sealed_before: int
    running: int
    behind: int

    @property
    def done(self) -> bool:
        """Whether nothing needs an older secret any more."""
        return self.newest and not (self.old_callers or self.old_operators or self.sealed_before)

    def to_json(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint[:SHOWN_CHARS],
            "newest_in_force": self.newest,
            "secrets_known": self.known,
            "keys_under_an_older_secret": {"callers": self.old_callers, "operators": self.old_operators},
            "sealed_under_an_older_secret": self.sealed_before,
            "gateways": {"running": self.running, "without_the_newest": self.behind},
            "older_secret_needed": not self.done,
        }


async def look(connection: AsyncConnection, keyring: Keyring) -> Standing:
    """Where the change of secrets stands. The keyring has turned to what is in force."""
    newest = keyring.known[0]
    old = [await count_old(connection, table, keyring) for table in TABLES.values()]
    return Standing(
        keyring.fingerprint,
        keyring.fingerprint == newest.fingerprint,
        len(keyring.known),
        old[0],
        old[1],
        await count_sealed_before(connection, keyring),
        int((await connection.execute(ALIVE)).scalar_one()),
        await count_behind(connection, keyring),
    )


async def count_old(connection: AsyncConnection, table: str, keyring: Keyring) -> int:
    """table: one of TABLES. NULL says: under the first secret, which is in force as long as it was never changed."""
    query = f"SELECT count(*) FROM {table} WHERE {USABLE} AND pepper_id <> :id"  # noqa: S608
    return int((await connection.execute(text(query), {"id": pepper_id(keyring.key_pepper)})).scalar_one())


async def count_sealed_before(connection: AsyncConnection, keyring: Keyring) -> int:
    seals, found = seals_of(keyring), 0
    for query in (
        "SELECT sealed FROM provider_keys WHERE revoked_at IS NULL",
        "SELECT sealed FROM webhook_secrets WHERE retires_at IS NULL OR retires_at > now()",
    ):
        found += sum(not seals.is_newest(row.sealed) for row in await connection.execute(text(query)))
    return found


async def count_behind(connection: AsyncConnection, keyring: Keyring) -> int:
    """Running processes that would refuse what the newest secret signs."""
    newest = {"fingerprint": keyring.fingerprints[0]}
    return int((await connection.execute(BEHIND, newest)).scalar_one())


async def rotate(tx: AsyncConnection, keyring: Keyring, actor: Actor, *, force: bool = False) -> int:
    """The newest secret comes into force when `tx` is committed; the keyring turns to it at once.

    All that is sealed is sealed under it. Digests of keys stay; each is made anew when its key is used next. Again,
    where the newest is in force already, it seals what somebody sealed under the older one meanwhile.

    force: even where running processes do not accept the newest; those then refuse whatever others sign or make.
    Returns how many secrets were sealed anew. Raises Conflict.
    """
    before = (await tx.execute(IN_FORCE)).scalar_one()
    keyring.turn(before)
    newest = keyring.known[0]
    if before != newest.fingerprint:
        await check_others(tx, keyring, force)
        first = {"id": pepper_id(keyring.key_pepper)}
        for table in TABLES.values():
            await tx.execute(text(f"UPDATE {table} SET pepper_id = :id WHERE pepper_id IS NULL"), first)  # noqa: S608
        keyring.turn(newest.fingerprint)
        await tx.execute(TURN, {"fingerprint": newest.fingerprint})
        await bump_version(tx, VERSION)
    sealed = await provider_keys.reseal(tx, keyring.sealing)
    sealed += await webhook_secrets.reseal(tx, seals_of(keyring))
    if before != newest.fingerprint or sealed:
        shown = {"before": before[:SHOWN_CHARS], "after": newest.fingerprint[:SHOWN_CHARS], "sealed": sealed}
        await record(tx, actor, "secret.rotate", "secret", detail=shown)
    return sealed


async def check_others(tx: AsyncConnection, keyring: Keyring, force: bool) -> None:
    """Raises Conflict where a running process would be left behind."""
    behind = await count_behind(tx, keyring)
    if behind and not force:
        raise Conflict(
            f"{behind} running gateways do not know the new secret yet and would refuse what others sign. Restart them "
            "with both secrets (one that was killed counts for IMAGEGATE_WORKER_LEASE_S seconds more), "
            "then: imagegate secret rotate",
            code="secret_unknown_to_gateways",
        )


def only(masters: Sequence[bytes], keyring: Keyring) -> tuple[bytes, ...]:
    """Of the masters, as they were read for this keyring, the one in force."""
    return tuple(
        master
        for master, keys in zip(masters, keyring.known, strict=True)
        if keys.fingerprint == keyring.fingerprint
    )
