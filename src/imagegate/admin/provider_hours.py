"""How providers did in the last hours, from the attempts that are recorded: whoever asked them, in every process.

However much was asked, a look is quick: where there were more than `MOST_AT_ONCE` attempts, the first ones of each hour
are looked at, so that no hour is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp

HOURS, MOST_HOURS = 24, 168
MOST_AT_ONCE, MOST_SAMPLED = 100_000, 240_000
MOST_FAULTS = 12
LONGEST_DETAIL = 200
GOOD, NEUTRAL, UNKNOWN = "DELIVERED", "REJECTED", "IN_FLIGHT"
"""A refusal of what was asked for says nothing about the provider, nor does a call that has not ended."""

ALL = """
    SELECT date_bin('1 hour', started_at, CAST(:first AS timestamptz)) AS at, provider, class, detail, ms FROM attempts
    WHERE started_at >= CAST(:first AS timestamptz) AND (CAST(:provider AS text) IS NULL OR provider = :provider)
        AND started_at < CAST(:end AS timestamptz) LIMIT :most
"""
SOME = """
    SELECT h.at, a.provider, a.class, a.detail, a.ms
    FROM generate_series(CAST(:first AS timestamptz), CAST(:last AS timestamptz), interval '1 hour') AS h(at)
    CROSS JOIN LATERAL (
        SELECT provider, class, detail, ms FROM attempts WHERE started_at >= h.at
            AND started_at < h.at + interval '1 hour' AND (CAST(:provider AS text) IS NULL OR provider = :provider)
        LIMIT :most_an_hour
    ) a
"""
COUNT = """
    SELECT at, provider, class, count(*) AS n, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ms) AS ms
    FROM ({seen}) seen GROUP BY GROUPING SETS ((at, provider, class), (provider, class))
"""
MIX = f"""
    SELECT class, left(detail, :longest) AS detail, count(*) AS n FROM ({{seen}}) seen
    WHERE class NOT IN ('{GOOD}', '{UNKNOWN}') GROUP BY 1, 2 ORDER BY n DESC, 1, 2 LIMIT :faults
"""  # noqa: S608 constants


@dataclass(slots=True)
class Did:
    """One provider in one hour, or in all of them (`at` None). classes: attempts by how they ended.

    p50_s, p95_s: of those that delivered; None: none did.
    """

    provider: str
    at: datetime | None
    classes: dict[str, int] = field(default_factory=dict)
    p50_s: float | None = None
    p95_s: float | None = None

    @property
    def attempts(self) -> int:
        return sum(self.classes.values())

    @property
    def failures(self) -> int:
        return sum(n for name, n in self.classes.items() if name not in (GOOD, NEUTRAL, UNKNOWN))

    @property
    def success(self) -> float | None:
        """Of those that say something about the provider, 0 to 1; None: none does."""
        delivered = self.classes.get(GOOD, 0)
        told = delivered + self.failures
        return delivered / told if told else None

    def to_json(self) -> dict[str, Any]:
        success = self.success
        return {
            "provider": self.provider,
            "at": timestamp(self.at),
            "attempts": self.attempts,
            "success": None if success is None else round(success, 4),
            "p50_s": self.p50_s,
            "p95_s": self.p95_s,
            "classes": dict(sorted(self.classes.items())),
        }


@dataclass(frozen=True, slots=True)
class Hours:
    """places: when each hour begins, oldest first. rows: hours in which a provider was asked. whole: their sums.

    sampled: there was more than was looked at.
    """

    places: Sequence[datetime]
    rows: Sequence[Did]
    whole: dict[str, Did]
    sampled: bool

    def of(self, provider: str) -> list[Did]:
        """Every hour, also those without an attempt."""
        known = {row.at: row for row in self.rows if row.provider == provider}
        return [known.get(at) or Did(provider, at) for at in self.places]


def places(hours: int) -> list[datetime]:
    """The beginnings of the last hours, oldest first; the last one is not over."""
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return [last - timedelta(hours=back) for back in reversed(range(hours))]


async def read_hours(connection: AsyncConnection, provider: str | None = None, hours: int = HOURS) -> Hours:
    """provider None: all of them. hours: 1 to 168."""
    at = places(hours)
    found = await count(connection, ALL, bounds(at, provider))
    sampled = sum(did.attempts for did in found if did.at is None) >= MOST_AT_ONCE
    if sampled:
        found = await count(connection, SOME, bounds(at, provider))
    return Hours(at, ranked(found), {did.provider: did for did in found if did.at is None}, sampled)


def bounds(at: Sequence[datetime], provider: str | None) -> dict[str, Any]:
    ends = {"first": at[0], "last": at[-1], "end": at[-1] + timedelta(hours=1)}
    return {**ends, "provider": provider, "most": MOST_AT_ONCE, "most_an_hour": MOST_SAMPLED // len(at)}


async def count(connection: AsyncConnection, seen: str, bound: dict[str, Any]) -> list[Did]:
    statement = text(COUNT.format(seen=seen))
    known = {name: bound[name] for name in statement.compile().params}
    found: dict[tuple[str, datetime | None], Did] = {}
    for row in await connection.execute(statement, known):
        did = found.setdefault((row.provider, row.at), Did(row.provider, row.at))
        did.classes[row[2]] = row.n
        if row[2] == GOOD:
            did.p50_s, did.p95_s = (round(ms / 1000, 3) for ms in row.ms)
    return list(found.values())


def ranked(found: Iterable[Did]) -> list[Did]:
    """By hour, newest first."""
    timed = [(did.at, did) for did in found if did.at is not None]
    return [did for _, did in sorted(timed, key=lambda pair: (-pair[0].timestamp(), pair[1].provider))]


async def read_faults(connection: AsyncConnection, provider: str, hours: Hours) -> list[dict[str, Any]]:
    """The attempts that brought nothing, by class and by what was said; the most frequent first, at most 12.

    hours: what was found of the provider.
    """
    statement = text(MIX.format(seen=SOME if hours.sampled else ALL))
    bound = bounds(hours.places, provider) | {"longest": LONGEST_DETAIL, "faults": MOST_FAULTS}
    known = {name: bound[name] for name in statement.compile().params}
    rows = await connection.execute(statement, known)
    return [{"class": row[0], "detail": row.detail, "attempts": row.n} for row in rows]
