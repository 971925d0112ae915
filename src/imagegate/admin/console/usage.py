"""Usage: what was made, charged and spent, by what one wants to know it, and what budgets have left."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from imagegate.admin import accounts, limits
from imagegate.admin.console.charts import MOST_SERIES, buckets, chart
from imagegate.admin.console.door import Shown, Visit, apart, looks
from imagegate.admin.console.tables import Table
from imagegate.admin.moments import timestamp
from imagegate.admin.usage import COUNTS, read_bucket, read_dimensions, show_usage, usage_json
from imagegate.errors import InvalidRequest
from imagegate.generation.usage import BUCKETS, DIMENSIONS, Bucket, Dimension, Usage, Wanted
from imagegate.generation.usage_series import METRICS, Metric, Series, read_series
from imagegate.identity.accounts import read_account

SHOWN = 200
"""Rows of the page, of buckets the last ones; `.json` and `.csv` have all."""
NAMES: dict[Metric, str] = {
    "charged_tokens": "charged",
    "images": "images",
    "generations": "requests",
    "errors": "failed",
    "cost_usd": "cost",
    "at_risk_usd": "at risk",
}
OF_HOURS = timedelta(days=2)
"""Up to so long a span the chart is by the hour, else by the day."""
OF_USERS = timedelta(days=1)
"""How far back the page tells of users: no sum has their names, so each request is read."""


async def look(visit: Visit) -> Shown:
    """Ranked by what was charged, or in the order of time."""
    frame = visit.frame
    by, bucket = read_dimensions([frame.get("by") or "model"]), read_bucket(frame.get("bucket") or "none")
    env, metric = frame.env or "live", read_metric(frame.get("metric") or "charged_tokens")
    since = max(frame.since, frame.now - OF_USERS) if "user" in by and not visit.whole else frame.since
    per: Bucket = "hour" if frame.now - since <= OF_HOURS else "day"
    # Users are in no sums: to draw them each request would be read once more.
    told = None if visit.whole or "user" in by else await read_lines(visit, by[0], per, env, metric, since)
    # By provider tokens are shares, made whole once in each bucket, so that sums of buckets may differ.
    if told is None or bucket != "none" or len(by) > 1 or "provider" in by:
        rows = await rows_of(visit, by, bucket, env, since)
    else:
        rows = [usage_json(by, row) for row in told.sums]
    if bucket == "none":
        rows = sorted(rows, key=lambda row: (Decimal(row[metric]), row["generations"]), reverse=True)
    known = [account.name for account in await accounts.list_accounts(visit.connection)]
    context = {
        "known": known,
        "by": list(by),
        "bucket": bucket,
        "env": env,
        "shortened": since > frame.since,
        "dimensions": DIMENSIONS,
        "buckets": BUCKETS,
        "metric": metric,
        "metrics": NAMES,
        "rows": with_shares(rows[:SHOWN] if bucket == "none" else rows[-SHOWN:], metric),
    }
    if not visit.whole:
        context |= await drawn(visit, told.lines if told else (), per, env, metric, since)
    return Shown("usage.html", context, table_of(visit, by, bucket, env, rows))


def table_of(
    visit: Visit, by: Sequence[Dimension], bucket: Bucket, env: str, rows: Sequence[dict[str, Any]]
) -> Table:
    frame = visit.frame
    query = {"since": timestamp(frame.since), "until": timestamp(frame.now), "by": ",".join(by)}
    query |= {"bucket": bucket, "env": env}
    if account := frame.get("account"):
        query["account"] = account
    columns = (*(("at",) if bucket != "none" else ()), *by, *COUNTS)
    return Table("usage", columns, rows, f"/admin/v1/usage?{urlencode(query)}")


def read_metric(said: str) -> Metric:
    """Raises InvalidRequest."""
    for known in METRICS:
        if known == said:
            return known
    raise InvalidRequest(f"metric is one of: {', '.join(METRICS)}.", param="metric")


def with_shares(rows: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Each row with how long its bar is, in percent of the longest."""
    most = max((Decimal(row[metric]) for row in rows), default=Decimal(0))
    return [row | {"share": float(Decimal(row[metric]) / most * 100) if most else 0.0} for row in rows]


async def read_lines(
    visit: Visit, by: Dimension, per: Bucket, env: str, metric: Metric, since: datetime
) -> Series:
    """For the chart, and for the table where it has the sums of the same groups."""
    frame, account = visit.frame, visit.frame.get("account")
    async with apart(visit) as connection:  # it is tuned for this
        owner = (await read_account(connection, account)).id if account is not None else None
        wanted = Wanted(since, frame.now, (by,), per, owner, env)
        return await read_series(connection, wanted, metric, MOST_SERIES)


async def rows_of(
    visit: Visit, by: tuple[Dimension, ...], bucket: Bucket, env: str, since: datetime
) -> list[dict[str, Any]]:
    frame = visit.frame
    async with apart(visit) as connection:  # it is tuned for this
        found = await show_usage(
            connection,
            since=since,
            until=frame.now,
            by=by,
            bucket=bucket,
            account=frame.get("account"),
            env=env,
            latest=None if visit.whole else SHOWN + 1,
        )
    rows: list[dict[str, Any]] = found["rows"]
    return rows


async def drawn(
    visit: Visit, lines: Sequence[Usage], per: Bucket, env: str, metric: str, since: datetime
) -> dict[str, Any]:
    """The chart of the metric, with the account's budget of a day across it, and what its budgets have left."""
    frame, account = visit.frame, visit.frame.get("account")
    unit = visit.services.settings.tokens_per_currency_unit if metric == "charged_tokens" else 1
    bars = chart(lines, buckets(since, frame.now, per), lambda row: float(getattr(row, metric)) / unit)
    budgets = await limits.show_limits(visit.connection, account, env) if account is not None else []
    told = [one for shown in budgets for one in budget_lines(shown)]
    day = next((one["most"] for one in told if (one["scope"], one["per"]) == ("account", "day")), None)
    if day is not None and (metric, per) == ("charged_tokens", "day"):
        bars["line"] = {"name": "budget of a day", "value": day / unit}
    return {"bars": bars, "per": per, "budgets": told}


def budget_lines(shown: limits.Shown) -> Sequence[dict[str, Any]]:
    """Budgets of one scope: the most, and what was spent and is held of it in the day and month that run, in tokens."""
    said, lines = shown.to_json(), []
    for per in ("day", "month"):
        if (most := said[f"{per}_tokens"]) is not None:
            used = said[per] or {"spent_tokens": 0, "held_tokens": 0}
            gone = used["spent_tokens"] + used["held_tokens"]
            lines.append(
                {"scope": said["scope"], "scope_id": said["scope_id"], "per": per, "most": most, "used": gone}
            )
    return lines


ROUTES: list[Route] = looks("/console/usage", look, table=True)
