"""The overview: what is spent, what was made, how it goes, and what needs somebody."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from imagegate.admin.console.attention import find_troubles, strips
from imagegate.admin.console.door import Shown, Visit, apart, looks
from imagegate.admin.console.frame import HOME, OVERVIEW
from imagegate.admin.console.pictures import media_path
from imagegate.admin.console.tables import Table
from imagegate.admin.generation_search import Search, search
from imagegate.admin.moments import timestamp
from imagegate.admin.pictures import pictures_of, prompt_of
from imagegate.admin.speed import read_waits
from imagegate.admin.usage import COUNTS, show_usage
from imagegate.generation.usage import LENGTHS, Bucket, Dimension
from imagegate.ledger.balances import list_wallets

MOST_SERIES = 7
PICTURES = 8


async def look(visit: Visit) -> Shown:
    """Tiles, two charts, providers, pictures and troubles of one span and one environment."""
    env = visit.frame.env or await busy_env(visit)
    bucket: Bucket = "hour" if visit.frame.range in ("1h", "24h") else "day"
    by_model = await usage_by(visit, env, "model", bucket)
    by_app = await usage_by(visit, env, "app", bucket)
    places = buckets(visit.frame.since, visit.frame.now, bucket)
    unit = visit.services.settings.tokens_per_currency_unit
    totals = {name: sum(row[name] for row in by_model) for name in ("generations", "images", "errors")}
    totals["tokens"] = sum(row["charged_tokens"] for row in by_model)
    spend = chart(by_model, "model", places, lambda row: row["charged_tokens"] / unit)
    images = chart(by_app, "app", places, lambda row: row["images"])
    query = {"since": timestamp(visit.frame.since), "until": timestamp(visit.frame.now)}
    query |= {"by": "model", "bucket": bucket, "env": env}
    table = Table("overview", ("at", "model", *COUNTS), by_model, f"/admin/v1/usage?{urlencode(query)}")
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


async def usage_by(visit: Visit, env: str, by: Dimension, bucket: Bucket) -> list[dict[str, Any]]:
    frame = visit.frame
    async with apart(visit) as connection:  # it is tuned for this
        found = await show_usage(
            connection, since=frame.since, until=frame.now, by=(by,), bucket=bucket, env=env
        )
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def buckets(since: datetime, until: datetime, bucket: Bucket) -> list[datetime]:
    """The beginnings of all hours or days of the span, in UTC."""
    length = LENGTHS.get(bucket, timedelta(days=1))
    first = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = first.replace(hour=0) if bucket == "day" else first
    return [first + length * n for n in range(-((first - until) // length))]


def chart(
    rows: Sequence[dict[str, Any]], name: str, places: Sequence[datetime], value: Any
) -> dict[str, Any]:
    """What the page's script draws: moments in seconds since 1970, and a series for each of the largest groups."""
    totals: dict[str, float] = defaultdict(float)
    for row in rows:
        totals[row[name] or "(none)"] += value(row)
    ranked = [key for key in sorted(totals, key=lambda key: -totals[key]) if totals[key] > 0]
    shown = ranked[:MOST_SERIES]
    at = {int(place.timestamp()): index for index, place in enumerate(places)}
    lines = {key: [0.0] * len(places) for key in (*shown, *(["others"] if ranked[MOST_SERIES:] else []))}
    for row in rows:
        key = row[name] or "(none)"
        index = at.get(int(datetime.fromisoformat(row["at"]).timestamp()))
        if index is not None and totals[key] > 0:
            lines[key if key in lines else "others"][index] += value(row)
    return {"x": list(at), "series": [{"name": key, "values": values} for key, values in lines.items()]}


async def last_pictures(visit: Visit, env: str) -> list[dict[str, Any]]:
    wanted = Search(env=env, status="completed", since=visit.frame.since)
    found = await search(visit.connection, wanted, None, PICTURES)
    stored = await pictures_of(visit.connection, [one.row for one in found])
    settings, key = visit.services.settings, visit.services.keyring.links
    shown = []
    for one in found:
        row = one.to_json() | {"prompt": prompt_of(one.row)}
        urls = [media_path(settings, key, image) for image in stored.get(row["id"], ())]
        if urls and urls[0]:
            shown.append({"one": row, "url": urls[0]})
    return shown


ROUTES: list[Route] = [*looks(HOME, look), *looks(OVERVIEW, look, table=True)]
