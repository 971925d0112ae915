"""What was made, charged and spent in a span of time: the sums of hours that are closed, and the rows of all others.

Sums exist by one dimension at a time: of all accounts by the hour, of each account by the day (`rollup.py`). All else,
the hours at both ends of a span, and users, whose names go with the prompts, is read from the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import InvalidRequest
from imagegate.generation.usage_rows import (
    BUCKETED,
    COUNTS,
    STORED,
    added_up,
    in_whole_tokens,
    narrowed,
    parts_of,
)

Dimension = Literal["account", "model", "key", "team", "app", "user", "provider", "size", "quality"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
Bucket = Literal["hour", "day", "none"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)
MOST_ROWS = 100_000

LENGTHS: dict[Bucket, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
MOST_BUCKETS = 10_000
FIRST_LOOK = 8
"""Buckets that a look at the last rows begins with."""
SHORT = timedelta(days=4)
"""Of so short a span each attempt is found by its generation; of a longer one all are read and joined."""
TUNED = """
    SELECT set_config(name, value, true)
    FROM (VALUES ('work_mem', '64MB'), ('enable_sort', 'off'), ('jit', 'off')) AS settings(name, value)
"""
REACH = text("SELECT since, until FROM usage_reach")

SUMMED: dict[Dimension, tuple[str, str, str]] = {
    "account": ("account", "c.name", "JOIN accounts c ON c.id = CAST(s.value AS uuid)"),
    "team": ("key", "k.team", "JOIN api_keys k ON k.id = CAST(s.value AS uuid)"),
    "key": ("key", "CAST(s.value AS uuid)", ""),
    **{name: (name, "s.value", "") for name in ("model", "app", "provider", "size", "quality")},
}
"""The dimension of the sums, what is shown of it, and where that stands. By user there are none."""
WHOLE = "quality"
"""The dimension with the fewest values: to add up all of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """since <= a generation's opening < until. by: each dimension at most once. account_id, env: None = any."""

    since: datetime
    until: datetime
    by: tuple[Dimension, ...] = ()
    bucket: Bucket = "none"
    account_id: UUID | None = None
    env: str | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Whole hours or days that are read from sums."""

    unit: Bucket
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """One group. values: those of the dimensions, in their order. at: the beginning of its bucket.

    errors: generations that failed. By provider every attempt counts for whom it asked: generations are those it was
    asked for, errors its failed attempts, and charged tokens are split by the images each one delivered.
    """

    at: datetime | None
    values: tuple[str | UUID | None, ...]
    generations: int
    images: int
    errors: int
    charged_tokens: int
    cost_usd: Decimal
    at_risk_usd: Decimal


async def read_usage(tx: AsyncConnection, wanted: Wanted, *, most_rows: int = MOST_ROWS) -> list[Usage]:
    """In the order of buckets and values. `tx` is tuned for this and should end after it.

    Raises InvalidRequest for a span that is none, and when there are more than `most_rows` groups.
    """
    query, said = await prepare(tx, wanted)
    rows = (await tx.execute(text(f"{query} LIMIT :rows"), {**said, "rows": most_rows + 1})).all()
    if len(rows) > most_rows:
        told = f"This makes more than {most_rows} rows. Ask for a shorter span, or for fewer dimensions."
        raise InvalidRequest(told, param="by")
    return in_order([usage_from(row, len(wanted.by)) for row in rows])


async def prepare(tx: AsyncConnection, wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """The query and its parameters: columns d0, d1 … of the dimensions, `at` unless the bucket is none, COUNTS."""
    if wanted.since >= wanted.until:
        raise InvalidRequest("since must lie before until.", param="since")
    buckets = buckets_of(wanted)
    await tx.execute(text(TUNED))
    summed = await find_summed(tx, wanted)
    named: dict[str, Any] = {"since": wanted.since, "until": wanted.until, "buckets": buckets}
    named |= {"account_id": wanted.account_id, "env": wanted.env}
    for number, stretch in enumerate(summed):
        named |= {f"since{number}": stretch.since, f"until{number}": stretch.until}
    return statement(wanted, summed), {name: value for name, value in named.items() if value is not None}


async def read_latest(tx: AsyncConnection, wanted: Wanted, most: int) -> list[Usage]:
    """As `read_usage`, but of buckets the last ones: no more rows than `most`, and no more is read than that takes."""
    length = LENGTHS.get(wanted.bucket)
    back = (length or timedelta(0)) * FIRST_LOOK
    while length is not None and (since := floor(wanted.until - back, length)) > wanted.since:
        found = await read_usage(tx, replace(wanted, since=since))
        if len(found) >= most:
            return found[-most:]
        back *= 3
    found = await read_usage(tx, wanted)
    return found if length is None else found[-most:]


def statement(wanted: Wanted, summed: Sequence[Stretch]) -> str:
    """Of constants alone: whatever was said are parameters."""
    names = [f"d{index}" for index in range(len(wanted.by))] + ["at"] * (wanted.bucket != "none")
    mine, last = owned("g", wanted), f":until{len(summed) - 1}"
    spans = [(":since", ":since0"), (last, ":until")] if summed else [(":since", ":until")]
    inside = [f"g.created_at >= {since} AND g.created_at < {until}{mine}" for since, until in spans]
    sums = [of_sums(wanted, number, stretch) for number, stretch in enumerate(summed)]
    few, where = "", "true"
    if summed or wanted.until - wanted.since <= SHORT:
        rows = " UNION ALL ".join(f"SELECT * FROM generations g WHERE {each}" for each in inside)  # noqa: S608
        few = narrowed(rows, wanted.by)
    else:
        (where,) = inside
    summed_up = added_up(names, [*parts_of(wanted.by, wanted.bucket, where), *sums])
    return f"{few} {in_whole_tokens(names, summed_up)}"


def owned(table: str, wanted: Wanted) -> str:
    mine = f" AND {table}.account_id = :account_id" if wanted.account_id is not None else ""
    return mine + (f" AND {table}.env = :env" if wanted.env is not None else "")


def of_sums(wanted: Wanted, number: int, stretch: Stretch) -> str:
    dimension, value, join = SUMMED[wanted.by[0]] if wanted.by else (WHOLE, "", "")
    if dimension == "account" and wanted.account_id is not None:
        dimension, join = WHOLE, "JOIN accounts c ON c.id = s.account_id"
    keys = [value] if wanted.by else []
    if wanted.bucket != "none":
        keys.append("b.at")
        join += f" {BUCKETED.format(wanted.bucket, 's.at')}"
    columns = ", ".join([*keys, *(f"s.{count}" for count in STORED)])
    inside = f"s.dimension = '{dimension}' AND s.at >= :since{number} AND s.at < :until{number}"
    inside += " AND s.account_id IS NULL" if stretch.unit == "day" and wanted.account_id is None else ""
    return f"SELECT {columns} FROM usage_{stretch.unit}s s {join} WHERE {inside}{owned('s', wanted)}"  # noqa: S608


async def find_summed(tx: AsyncConnection, wanted: Wanted) -> list[Stretch]:
    """The part of the span that is read from sums, without a gap in it. Empty: all of it is read from the rows."""
    if len(wanted.by) > 1 or any(name not in SUMMED for name in wanted.by):
        return []
    reach = (await tx.execute(REACH)).one_or_none()
    if reach is None:
        return []
    hours, days = (within(wanted, unit, reach.since, reach.until) for unit in ("hour", "day"))
    if wanted.account_id is not None:
        found = [days] if wanted.bucket != "hour" else []
    elif wanted.bucket == "hour" or days.since >= days.until:
        found = [hours]
    else:
        found = [replace(hours, until=days.since), days, replace(hours, since=days.until)]
    return [stretch for stretch in found if stretch.since < stretch.until]


def within(wanted: Wanted, unit: Bucket, since: datetime, until: datetime) -> Stretch:
    """The whole hours or days of the span from `since` to `until`."""
    length = LENGTHS[unit]
    first = max(-floor_back(-wanted.since.timestamp(), length), since.timestamp())
    last = min(floor_back(wanted.until.timestamp(), length), floor_back(until.timestamp(), length))
    return Stretch(unit, datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC))


def floor_back(seconds: float, length: timedelta) -> float:
    return seconds // length.total_seconds() * length.total_seconds()


def floor(at: datetime, length: timedelta) -> datetime:
    """The beginning of the hour or day, in UTC."""
    return datetime.fromtimestamp(floor_back(at.timestamp(), length), UTC)


def buckets_of(wanted: Wanted) -> list[datetime] | None:
    """The beginnings of all buckets of the span, in UTC. Raises InvalidRequest when there are more than 10,000."""
    length = LENGTHS.get(wanted.bucket)
    if length is None:
        return None
    first = floor(wanted.since, length)
    count = -((first - wanted.until) // length)
    if count > MOST_BUCKETS:
        said = f"This span has more than {MOST_BUCKETS} buckets. Ask for a shorter one, or by the day."
        raise InvalidRequest(said, param="bucket")
    return [first + length * n for n in range(count)]


def usage_from(row: Any, dimensions: int) -> Usage:
    return Usage(
        row.at if len(row) > dimensions + len(COUNTS) else None, tuple(row[:dimensions]), *row[-len(COUNTS) :]
    )


def in_order(found: Sequence[Usage]) -> list[Usage]:
    """By buckets, then values, none last. Values are ranked first: comparing them for each row would take longer."""
    values = sorted({value for usage in found for value in usage.values}, key=lambda v: (v is None, str(v)))
    ranks = {value: rank for rank, value in enumerate(values)}
    return sorted(found, key=lambda usage: (usage.at or datetime.min, [ranks[v] for v in usage.values]))
