"""What was made, charged and spent in a span of time, in one query over generations and their attempts.

Everything of a generation counts in the bucket in which it was opened. What is the generation's own is counted
without its attempts, and what they cost is joined to as little of it as is grouped by: the join is what takes time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import InvalidRequest

Dimension = Literal["account", "model", "key", "team", "app", "user", "provider", "size", "quality"]
Bucket = Literal["hour", "day", "none"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)
MOST_ROWS = 100_000

COLUMNS: dict[Dimension, str] = {
    "account": "c.name",
    "model": "g.model",
    "key": "g.key_id",
    "team": "k.team",
    "app": "g.app_id",
    "user": "g.request ->> 'user'",
    "provider": "a.provider",
    "size": "g.quote ->> 'size'",
    "quality": "g.quote ->> 'quality'",
}
JOINS: dict[Dimension, str] = {
    "account": "JOIN accounts c ON c.id = g.account_id",
    "team": "JOIN api_keys k ON k.account_id = g.account_id AND k.env = g.env AND k.id = g.key_id",
}
SAME = "{0}.account_id = {1}.account_id AND {0}.env = {1}.env AND {0}.generation_id = {1}.{2}"
FIRST = "a.epoch = 1 AND a.seq = 0"
COUNT = "(g.billed ->> 'count')::int"
FAILED = "g.state = 'voided' AND g.answer_code IS DISTINCT FROM 'cancelled'"
SHARE = f"CASE WHEN a.images = {COUNT} THEN g.charged_tokens ELSE g.charged_tokens * a.images::numeric / {COUNT} END"
OF_GENERATIONS = f"""count(*) AS generations, sum({COUNT}) AS images, count(*) FILTER (WHERE {FAILED}) AS errors,
        sum(g.charged_tokens) AS charged_tokens, NULL::numeric AS cost_usd, NULL::numeric AS at_risk_usd"""
OF_COSTS = "0, 0, 0, 0, sum(a.cost_usd), sum(a.at_risk_usd)"
OF_ATTEMPTS = f"""count(*) FILTER (WHERE {FIRST}) AS generations, sum(a.images) AS images,
        count(*) FILTER (WHERE a.class NOT IN ('DELIVERED', 'IN_FLIGHT')) AS errors,
        sum({SHARE}) AS charged_tokens, sum(a.cost_usd) AS cost_usd, sum(a.at_risk_usd) AS at_risk_usd"""
OF_OTHER_FIRSTS = "count(*), 0, 0, 0, NULL::numeric, NULL::numeric"

BUCKETED = """LEFT JOIN unnest(CAST(:buckets AS timestamptz[])) AS b(at)
            ON b.at = date_bin('1 {0}', g.created_at, '1970-01-01T00:00:00Z')"""
"""The planner takes every moment for a group of its own, but knows how few the buckets are; so it can count in
parallel. Each generation has its bucket; the outer join says so."""
LENGTHS: dict[Bucket, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
MOST_BUCKETS = 10_000
TUNED = ("SET LOCAL work_mem = '64MB'", "SET LOCAL enable_sort = off", "SET LOCAL jit = off")


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
    if wanted.since >= wanted.until:
        raise InvalidRequest("since must lie before until.", param="since")
    for setting in TUNED:
        await tx.execute(text(setting))
    bounds = {"since": wanted.since, "until": wanted.until, "rows": most_rows + 1}
    owner = {"account_id": wanted.account_id, "env": wanted.env, "buckets": buckets_of(wanted)}
    names = bounds | {name: value for name, value in owner.items() if value is not None}
    rows = (await tx.execute(text(statement(wanted)), names)).all()
    if len(rows) > most_rows:
        said = f"This makes more than {most_rows} rows. Ask for a shorter span, or for fewer dimensions."
        raise InvalidRequest(said, param="by")
    return sorted((usage_from(row) for row in rows), key=order)


def statement(wanted: Wanted) -> str:
    """Of constants alone: whatever was said are parameters."""
    keys = [f"{COLUMNS[name]} AS d{index}" for index, name in enumerate(wanted.by)]
    joins = " ".join(JOINS[name] for name in wanted.by if name in JOINS)
    if wanted.bucket != "none":
        keys.append("b.at AS at")
        joins += f" {BUCKETED.format(wanted.bucket)}"
    where = "g.created_at >= :since AND g.created_at < :until"
    where += " AND g.account_id = :account_id" if wanted.account_id is not None else ""
    where += " AND g.env = :env" if wanted.env is not None else ""
    names = ", ".join(key.rpartition(" ")[2] for key in keys)
    select = f"SELECT {', '.join(keys)}{', ' if keys else ''}"
    grouped = f"GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else ""
    made, spent = halves("provider" in wanted.by, joins, where)
    return f"""
    SELECT {names}{", " if names else ""} sum(generations) AS generations, sum(images) AS images,
        sum(errors) AS errors, sum(charged_tokens) AS charged_tokens, sum(cost_usd) AS cost_usd,
        sum(at_risk_usd) AS at_risk_usd
    FROM (({select} {made} {grouped}) UNION ALL ({select} {spent} {grouped})) counted
    {f"GROUP BY {names}" if names else ""} LIMIT :rows
    """  # noqa: S608 nothing in it was said by anybody


def halves(by_provider: bool, joins: str, where: str) -> tuple[str, str]:
    """What is added up. By provider: attempts, then those that are its first and not number 0 of epoch 1."""
    mine = SAME.format("a", "g", "id")
    if not by_provider:
        costly = "(a.cost_usd IS NOT NULL OR a.at_risk_usd IS NOT NULL)"
        return (
            f"{OF_GENERATIONS} FROM generations g {joins} WHERE {where}",
            f"{OF_COSTS} FROM generations g JOIN attempts a ON {mine} {joins} WHERE {where} AND {costly}",
        )
    earlier = f"{SAME.format('e', 'a', 'generation_id')} AND e.provider = a.provider"
    earlier += " AND (e.epoch, e.seq) < (a.epoch, a.seq)"
    tried = f"FROM generations g JOIN attempts a ON {mine} {joins} WHERE {where}"
    first = f"NOT EXISTS (SELECT FROM attempts e WHERE {earlier})"
    return f"{OF_ATTEMPTS} {tried}", f"{OF_OTHER_FIRSTS} {tried} AND (a.epoch > 1 OR a.seq > 0) AND {first}"


def buckets_of(wanted: Wanted) -> list[datetime] | None:
    """The beginnings of all buckets of the span, in UTC. Raises InvalidRequest when there are more than 10,000."""
    length = LENGTHS.get(wanted.bucket)
    if length is None:
        return None
    first = wanted.since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = first.replace(hour=0) if wanted.bucket == "day" else first
    count = -((first - wanted.until) // length)
    if count > MOST_BUCKETS:
        said = f"This span has more than {MOST_BUCKETS} buckets. Ask for a shorter one, or by the day."
        raise InvalidRequest(said, param="bucket")
    return [first + length * n for n in range(count)]


def usage_from(row: Any) -> Usage:
    found = row._mapping
    values = tuple(
        found[name] for name in sorted(name for name in found if name[0] == "d" and name[1:].isdigit())
    )
    at = found.get("at")
    return Usage(
        at.astimezone(UTC) if at else None,
        values,
        int(row.generations or 0),
        int(row.images or 0),
        int(row.errors or 0),
        round(row.charged_tokens or 0),
        row.cost_usd or Decimal(0),
        row.at_risk_usd or Decimal(0),
    )


def order(usage: Usage) -> tuple[float, Sequence[tuple[bool, str]]]:
    at = usage.at.timestamp() if usage.at else 0.0
    return at, [(value is None, str(value)) for value in usage.values]
