"""Usage as stacked bars: what the pages' script draws."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from imagegate.admin.usage import value_json
from imagegate.generation.usage import LENGTHS, Bucket, Usage

MOST_SERIES = 7


def buckets(since: datetime, until: datetime, bucket: Bucket) -> list[datetime]:
    """The beginnings of all hours or days of the span, in UTC."""
    length = LENGTHS.get(bucket, timedelta(days=1))
    first = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = first.replace(hour=0) if bucket == "day" else first
    return [first + length * n for n in range(-((first - until) // length))]


def chart(
    rows: Sequence[Usage], places: Sequence[datetime], value: Callable[[Usage], float]
) -> dict[str, Any]:
    """What the page's script draws: moments in seconds since 1970, and a series for each of the largest groups."""
    totals: dict[str, float] = defaultdict(float)
    names = {group: name_of(group) for group in {row.values[0] for row in rows}}
    for row in rows:
        totals[names[row.values[0]]] += value(row)
    ranked = [key for key in sorted(totals, key=lambda key: -totals[key]) if totals[key] > 0]
    shown = ranked[:MOST_SERIES]
    at = {place: index for index, place in enumerate(places)}
    lines = {key: [0.0] * len(places) for key in (*shown, *(["others"] if ranked[MOST_SERIES:] else []))}
    for row in rows:
        key = names[row.values[0]]
        if row.at in at and totals[key] > 0:
            lines[key if key in lines else "others"][at[row.at]] += value(row)
    series = [{"name": key, "values": values} for key, values in lines.items()]
    return {"x": [int(place.timestamp()) for place in places], "series": series}


def name_of(value: str | UUID | None) -> str:
    return value_json(value) or "(none)"
