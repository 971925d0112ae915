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
    lines: Sequence[Usage], places: Sequence[datetime], value: Callable[[Usage], float]
) -> dict[str, Any]:
    """What the page's script draws: moments in seconds since 1970, and a series for each of the largest groups.

    lines: those of `read_series`.
    """
    at: dict[datetime | None, int] = {place: index for index, place in enumerate(places)}
    series: dict[tuple[str | UUID | None, ...], list[float]] = defaultdict(lambda: [0.0] * len(places))
    for row in lines:
        if (index := at.get(row.at)) is not None:
            series[row.values][index] += value(row)
    drawn = [{"name": name_of(group), "values": values} for group, values in series.items() if any(values)]
    return {"x": [int(place.timestamp()) for place in places], "series": drawn}


def name_of(group: Sequence[str | UUID | None]) -> str:
    return (value_json(group[0]) or "(none)") if group else "others"
