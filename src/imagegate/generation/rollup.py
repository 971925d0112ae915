"""Sums of hours that are over and settled, so that usage of many generations is read from few rows.

Only a cache. An hour is closed once nothing in it can change any more; until then it is read from its rows. Closed are
all hours from `usage_reach.since` to `.until`; whoever moves `until` on holds that row's lock and writes the sums in
the same transaction, so any number of processes may try at once. Usage never changes by it: sums are made by the very
queries that read rows.

What can still change a generation: its settlement, while it is open; and a retry under its idempotency key, where it
was lost, for 24 hours. Both are awaited. So is every transaction that began in the hour and may yet commit one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.generation.usage import LENGTHS, Bucket, floor
from imagegate.generation.usage_rows import COUNTS, STORED, added_up, narrowed, parts_of
from imagegate.journal.books import MOST_EPOCHS
from imagegate.journal.tables import OPEN_STATES

log = structlog.get_logger()

EVERY_S = 60.0
TURN_S = 5.0
"""A turn that has taken so long is over; there is another one a minute later."""
HOUR, DAY = LENGTHS["hour"], LENGTHS["day"]
DIMENSIONS: Mapping[str, str] = {"account": "account_id"} | {
    name: name for name in ("key", "app", "model", "provider", "size", "quality")
}
"""What there are sums by, and its name among the rows' columns. Not by user: their names go with the prompts."""

OLDEST = """
    SELECT date_bin('1 day', min(first.created_at), '1970-01-01T00:00:00Z') AS at
    FROM accounts a CROSS JOIN (VALUES ('live'), ('test')) AS e(env) CROSS JOIN LATERAL (
        SELECT created_at FROM generations WHERE account_id = a.id AND env = e.env ORDER BY id LIMIT 1
    ) AS first
"""
BEGIN = text(
    f"""
    INSERT INTO usage_reach (since, until)
    SELECT at, at FROM ({OLDEST}) AS oldest WHERE at IS NOT NULL ON CONFLICT DO NOTHING
    """  # noqa: S608 constants
)
REACH = text("SELECT since, until FROM usage_reach FOR UPDATE SKIP LOCKED")
WAIT_FOR_REACH = text("SELECT since, until FROM usage_reach FOR UPDATE")
HORIZON = text(
    """
    SELECT least(clock_timestamp() - CAST(:wait AS interval), (
        SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    ))
    """
)
"""All that is opened or changed from now on bears a later moment: a row's moments are its transaction's beginning.

Other roles' transactions are not seen, which write no generations; the wait is for what is not seen.
"""
WAIT = timedelta(minutes=5)
UNSETTLED = text(
    f"""
    SELECT min(created_at) FROM generations WHERE created_at >= :since AND created_at < :until AND ({OPEN_STATES}
        OR state = 'voided' AND outcome = 'lost' AND epoch < {MOST_EPOCHS} AND idempotency_key IS NOT NULL
            AND created_at >= CAST(:horizon AS timestamptz) - interval '24 hours')
    """  # noqa: S608 constants
)
UNTIL = text("SELECT until FROM usage_reach")
MOVE = text("UPDATE usage_reach SET since = least(since, :since), until = greatest(until, :until)")


async def close_due(engine: AsyncEngine) -> int:
    """Close the hours that can be closed, for a few seconds at most. Returns how many; 0: none, or another is at it."""
    began, closed = monotonic(), 0
    while monotonic() - began < TURN_S and (step := await close_next(engine)):
        closed += step
    return closed


async def close_next(engine: AsyncEngine) -> int:
    """In one transaction close the next hours, of one day. Returns how many."""
    async with engine.begin() as tx:
        reach = (await tx.execute(REACH)).one_or_none()
        if reach is None:
            await tx.execute(BEGIN)
            reach = (await tx.execute(REACH)).one_or_none()
        if reach is None:
            return 0
        since = reach.until.astimezone(UTC)
        until = await find_end(tx, since)
        if until <= since:
            return 0
        await write(tx, "hour", since, until)
        if until == floor(until, DAY):
            await write_day(tx, until - DAY)
        await tx.execute(MOVE, {"since": since, "until": until})
        return int((until - since) / HOUR)


async def find_end(tx: AsyncConnection, since: datetime) -> datetime:
    """Up to here nothing will change any more: a whole hour, of the same day or its end."""
    horizon = await find_horizon(tx)
    until = min(floor(horizon, HOUR), floor(since, DAY) + DAY)
    if until <= since:
        return since
    named = {"since": since, "until": until, "horizon": horizon}
    unsettled = (await tx.execute(UNSETTLED, named)).scalar()
    return min(until, floor(unsettled, HOUR)) if unsettled is not None else until


async def find_horizon(tx: AsyncConnection, wait: timedelta = WAIT) -> datetime:
    horizon: datetime = (await tx.execute(HORIZON, {"wait": wait})).scalar_one()
    return horizon


async def write(tx: AsyncConnection, unit: Bucket, since: datetime, until: datetime) -> None:
    """The sums of all hours or days in between, from the rows. There are none yet."""
    buckets = [since + LENGTHS[unit] * n for n in range((until - since) // LENGTHS[unit])]
    await tx.execute(text("SET LOCAL jit = off"))
    await tx.execute(text(INSERTS[unit]), {"since": since, "until": until, "buckets": buckets})


async def write_day(tx: AsyncConnection, day: datetime) -> None:
    """The sums of a day of each account from the rows; those of all accounts from its hours, which are written."""
    await write(tx, "day", day, day + DAY)
    await tx.execute(text(ALL_ACCOUNTS), {"since": day, "until": day + DAY, "dimensions": list(DIMENSIONS)})


def insert(unit: Bucket) -> str:
    """Hours are of all accounts, by every dimension; days of each account, which needs no sums by account."""
    owner = ("env",) if unit == "hour" else ("env", "account_id")
    kept = {name: column for name, column in DIMENSIONS.items() if column not in owner}
    several = " UNION ALL ".join(f"({of_one(unit, name, (*owner, column))})" for name, column in kept.items())
    return f"""
    INSERT INTO usage_{unit}s ({", ".join(owner)}, value, at, dimension, {", ".join(STORED)})
    {narrowed("SELECT * FROM generations WHERE created_at >= :since AND created_at < :until", ())} {several}
    """  # noqa: S608 constants


def of_one(unit: Bucket, name: str, by: tuple[str, ...]) -> str:
    """The sums by one dimension, which is the last of `by`."""
    keys = [f"d{index}" for index in range(len(by))]
    shown = [*keys[:-1], f"CAST({keys[-1]} AS text)", "at", f"'{name}'"]
    added = added_up([*keys, "at"], parts_of(by, unit, "true"))
    return f"SELECT {', '.join([*shown, *COUNTS])} FROM ({added}) AS summed"  # noqa: S608 constants


ALL_ACCOUNTS = f"""
    INSERT INTO usage_days (env, value, at, dimension, {", ".join(STORED)})
    SELECT env, value, CAST(:since AS timestamptz), dimension, {", ".join(f"sum({count})" for count in STORED)}
    FROM usage_hours WHERE dimension = ANY(:dimensions) AND at >= :since AND at < :until GROUP BY env, value, dimension
"""  # noqa: S608 constants
INSERTS = {unit: insert(unit) for unit in LENGTHS}


async def read_reach(engine: AsyncEngine) -> datetime | None:
    """Up to when hours are closed."""
    async with engine.connect() as connection:
        reach = (await connection.execute(UNTIL)).scalar()
    return reach.astimezone(UTC) if reach is not None else None


async def rebuild(engine: AsyncEngine) -> int:
    """Make all sums anew from the rows, a day in each transaction, the newest first. Returns how many hours.

    Usage can be read meanwhile, and is right. Days whose generations were removed, wholly or in part, keep their sums:
    those up to the oldest generation that there is, where the sums begin on an earlier day.
    """
    async with engine.begin() as tx:
        oldest = (await tx.execute(text(OLDEST))).scalar()
        reach = (await tx.execute(WAIT_FOR_REACH)).one_or_none()
    if oldest is None or reach is None:
        return 0
    first = oldest + DAY if oldest > reach.since else oldest
    day, hours = floor(reach.until - timedelta(microseconds=1), DAY), 0
    while day >= first:
        hours += await rebuild_day(engine, day)
        day -= DAY
    return hours


async def rebuild_day(engine: AsyncEngine, day: datetime) -> int:
    async with engine.begin() as tx:
        reach = (await tx.execute(WAIT_FOR_REACH)).one()
        until = min(day + DAY, reach.until.astimezone(UTC))
        named: dict[str, Any] = {"since": day, "until": day + DAY, "dimensions": list(DIMENSIONS)}
        for unit in ("hour", "day"):
            await tx.execute(text(CLEAR.format(unit)), named)
        await write(tx, "hour", day, until)
        if until == day + DAY:
            await write_day(tx, day)
        await tx.execute(MOVE, {"since": day, "until": until})
        return int((until - day) / HOUR)


CLEAR = "DELETE FROM usage_{0}s WHERE dimension = ANY(:dimensions) AND at >= :since AND at < :until"
