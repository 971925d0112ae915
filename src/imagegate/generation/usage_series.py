"""Usage as lines over time: the largest groups each by itself, all others as one, and what every group sums up to.

The database does the sums, so that thousands of groups over months come as few rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.generation.usage import Usage, Wanted, prepare
from imagegate.generation.usage_rows import COUNTS

Metric = Literal["charged_tokens", "images", "generations", "errors", "cost_usd", "at_risk_usd"]
METRICS: tuple[Metric, ...] = get_args(Metric)

SERIES = """
    WITH counted AS MATERIALIZED ({counted}),
    sums AS (SELECT d0, {sums} FROM counted GROUP BY d0),
    largest AS (
        SELECT d0, row_number() OVER (ORDER BY {metric} DESC, d0) AS place FROM sums WHERE {metric} > 0
        ORDER BY place LIMIT :most
    )
    SELECT 0 AS place, d0, NULL AS at, {counts} FROM sums
    UNION ALL
    SELECT place, largest.d0, at, {sums} FROM counted LEFT JOIN largest ON largest.d0 IS NOT DISTINCT FROM counted.d0
    GROUP BY place, largest.d0, at
"""


@dataclass(frozen=True, slots=True)
class Series:
    """sums: a row for each group, over the whole span.

    lines: by bucket, first those of the largest group, then of the next; last, as rows without values, of all others.
    """

    sums: Sequence[Usage]
    lines: Sequence[Usage]


async def read_series(tx: AsyncConnection, wanted: Wanted, metric: Metric, most: int) -> Series:
    """By one dimension and a bucket; the largest are those with the most of `metric`, at most `most`.

    `tx` is tuned for this and should end after it. Raises InvalidRequest for a span that is none.
    """
    counted, said = await prepare(tx, wanted)
    whole = [f"CAST(sum({name}) AS bigint) AS {name}" for name in COUNTS[:4]]
    sums = ", ".join([*whole, *(f"sum({name}) AS {name}" for name in COUNTS[4:])])
    query = SERIES.format(counted=counted, metric=metric, sums=sums, counts=", ".join(COUNTS))
    rows = (await tx.execute(text(query), {**said, "most": most})).all()
    lines = sorted((row for row in rows if row.place != 0), key=lambda row: (row.place or most + 1, row.at))
    return Series(
        [Usage(None, (row.d0,), *row[3:]) for row in rows if row.place == 0],
        [Usage(row.at, (row.d0,) if row.place else (), *row[3:]) for row in lines],
    )
