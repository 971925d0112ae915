"""The overview: what is spent, what was made, how it goes, and what needs somebody."""

from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from imagegate.admin.console.attention import find_troubles, strips
from imagegate.admin.console.charts import MOST_SERIES, buckets, chart
from imagegate.admin.console.door import Shown, Visit, apart, looks
from imagegate.admin.console.frame import HOME, OVERVIEW
from imagegate.admin.console.pictures import thumb_path
from imagegate.admin.console.tables import Table
from imagegate.admin.generation_search import Search, search
from imagegate.admin.moments import timestamp
from imagegate.admin.pictures import pictures_of, prompt_of
from imagegate.admin.speed import read_waits
from imagegate.admin.usage import COUNTS, usage_json
from imagegate.generation.usage import Bucket, Dimension, Wanted, read_usage
from imagegate.generation.usage_series import Metric, Series, read_series
from imagegate.ledger.balances import list_wallets

PICTURES = 8


async def look(visit: Visit) -> Shown:
    """Tiles, two charts, providers, pictures and troubles of one span and one environment."""
    env = visit.frame.env or await busy_env(visit)
    bucket: Bucket = "hour" if visit.frame.range in ("1h", "24h") else "day"
    by_model = await series_by(visit, env, "model", bucket, "charged_tokens")
    by_app = await series_by(visit, env, "app", bucket, "images")
    places = buckets(visit.frame.since, visit.frame.now, bucket)
    unit = visit.services.settings.tokens_per_currency_unit
    totals = {
        "generations": sum(row.generations for row in by_model.sums),
        "images": sum(row.images for row in by_model.sums),
        "errors": sum(row.errors for row in by_model.sums),
        "tokens": sum(row.charged_tokens for row in by_model.sums),
    }
    spend = chart(by_model.lines, places, lambda row: row.charged_tokens / unit)
    images = chart(by_app.lines, places, lambda row: row.images)
    query = {"since": timestamp(visit.frame.since), "until": timestamp(visit.frame.now)}
    query |= {"by": "model", "bucket": bucket, "env": env}
    rows = await every_row(visit, env, bucket) if visit.whole else []
    table = Table("overview", ("at", "model", *COUNTS), rows, f"/admin/v1/usage?{urlencode(query)}")
    context = {
        "env": env,
        "bucket": bucket,
        "totals": totals,
        "success": 1 - totals["errors"] / totals["generations"] if totals["generations"] else None,
        "waits": await read_waits(visit.connection, visit.frame.since, env),
        "balance": sum(wallet.available_tokens for wallet in await list_wallets(visit.connection, env)),
        "spend": spend,
        "images": images,
        "strips": strips(visit),
        "pictures": await last_pictures(visit, env),
        "troubles": await find_troubles(visit, totals),
    }
    return Shown("overview.html", context, table)


async def busy_env(visit: Visit) -> str:
    """live, unless nothing but tests was done so far."""
    for env in ("live", "test"):
        if await search(visit.connection, Search(env=env, since=visit.frame.since), None, 1):
            return env
    return "live"


async def series_by(visit: Visit, env: str, by: Dimension, bucket: Bucket, metric: Metric) -> Series:
    wanted = Wanted(visit.frame.since, visit.frame.now, (by,), bucket, env=env)
    async with apart(visit) as connection:  # it is tuned for this
        return await read_series(connection, wanted, metric, MOST_SERIES)


async def every_row(visit: Visit, env: str, bucket: Bucket) -> list[dict[str, Any]]:
    wanted = Wanted(visit.frame.since, visit.frame.now, ("model",), bucket, env=env)
    async with apart(visit) as connection:
        return [usage_json(("model",), row) for row in await read_usage(connection, wanted)]


async def last_pictures(visit: Visit, env: str) -> list[dict[str, Any]]:
    wanted = Search(env=env, status="completed", since=visit.frame.since)
    found = await search(visit.connection, wanted, None, PICTURES)
    stored = await pictures_of(visit.connection, [one.row for one in found])
    shown = []
    for one in found:
        row = one.to_json() | {"prompt": prompt_of(one.row)}
        images = stored.get(row["id"], ())
        if images and (small := thumb_path(row["id"], 0, images[0])):
            shown.append({"one": row, "url": small})
    return shown


ROUTES: list[Route] = [*looks(HOME, look), *looks(OVERVIEW, look, table=True)]
