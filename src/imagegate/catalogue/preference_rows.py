"""Preferences as rows. Every change counts up the `preferences` version, which is how processes learn of it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.catalogue.preferences import Preference
from imagegate.catalogue.prices import bump_version
from imagegate.catalogue.tables import preferences

PREFERENCES = "preferences"


async def load(connection: AsyncConnection) -> Sequence[Preference]:
    """All preferences. Read the versions before this, never after."""
    return [preference_from(row) for row in await connection.execute(select(preferences))]


async def changing(tx: AsyncConnection, model: str, provider: str) -> Preference | None:
    """What is preferred now; nobody else changes a preference until `tx` ends."""
    await bump_version(tx, PREFERENCES)
    query = select(preferences).where(preferences.c.model == model, preferences.c.provider == provider)
    row = (await tx.execute(query)).one_or_none()
    return preference_from(row) if row else None


async def write(
    tx: AsyncConnection,
    model: str,
    provider: str,
    rank: int | None,
    weight: int | None,
    reason: str,
    actor: str,
) -> Preference:
    """Make this the preference. The caller holds the lock of `changing`."""
    values = {
        "rank": rank,
        "weight": weight,
        "reason": reason,
        "actor": actor,
        "at": func.clock_timestamp(),
    }
    statement = insert(preferences).values(model=model, provider=provider, **values)
    key = [preferences.c.model, preferences.c.provider]
    written = statement.on_conflict_do_update(index_elements=key, set_=values).returning(preferences)
    return preference_from((await tx.execute(written)).one())


async def remove(tx: AsyncConnection, model: str, provider: str) -> None:
    """The caller holds the lock of `changing`."""
    gone = delete(preferences).where(preferences.c.model == model, preferences.c.provider == provider)
    await tx.execute(gone)


def preference_from(row: Row[Any]) -> Preference:
    return Preference(row.model, row.provider, row.rank, row.weight, row.reason, row.actor, row.at)
