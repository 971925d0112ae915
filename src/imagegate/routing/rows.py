"""The health of offerings as rows, so that a process that starts does not ask all that rests at once.

Each process writes what changed every few seconds under its worker's id. One that starts reads the newest row of each
offering, whoever wrote it. Nothing here may hurt a request: what fails is logged and tried again later.
"""

import asyncio
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import delete, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.routing.health import Health
from imagegate.routing.remembering import recall, remember
from imagegate.routing.tables import offering_health

log = structlog.get_logger()

EVERY_S = 10.0
PATIENCE_S = 3.0
OLD = timedelta(hours=1)
MOST_ROWS = 2000

NEWEST = text(
    """
    SELECT DISTINCT ON (provider, offering) provider, offering, state FROM offering_health
    WHERE at > now() - interval '5 minutes' ORDER BY provider, offering, at DESC LIMIT :most
    """
)


async def keep(engine: AsyncEngine, worker_id: UUID, health: Health) -> None:
    """Write what changed, for ever."""
    while True:
        await asyncio.sleep(EVERY_S)
        await save(engine, worker_id, health)


async def save(engine: AsyncEngine, worker_id: UUID, health: Health) -> None:
    """Write the states that changed since the last time, and drop rows that nobody would read. Never raises."""
    changed = [record for record in health if record.changed][:MOST_ROWS]
    if not changed:
        return
    for record in changed:
        record.changed = False
    rows = [
        {
            "worker_id": worker_id,
            "provider": record.provider,
            "offering": record.offering,
            "state": remember(health, record),
        }
        for record in changed
    ]
    try:
        async with asyncio.timeout(PATIENCE_S), engine.begin() as tx:
            made = insert(offering_health).values(rows)
            fresh = {"state": made.excluded.state, "at": func.clock_timestamp()}
            key = list(offering_health.primary_key.columns)
            await tx.execute(made.on_conflict_do_update(index_elements=key, set_=fresh))
            await tx.execute(delete(offering_health).where(offering_health.c.at < func.now() - OLD))
    except Exception as error:
        log.warning("health_not_saved", error=type(error).__name__)
        for record in changed:
            record.changed = True


async def load(engine: AsyncEngine, health: Health) -> None:
    """Begin as the processes of the last few minutes left off. Never raises."""
    try:
        async with asyncio.timeout(PATIENCE_S), engine.connect() as connection:
            found = (await connection.execute(NEWEST, {"most": MOST_ROWS})).all()
        for row in found:
            recall(health, health.of(row.provider, row.offering), row.state)
    except Exception as error:
        log.warning("health_not_read", error=type(error).__name__)
