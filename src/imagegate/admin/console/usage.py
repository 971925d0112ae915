"""Usage: what was made, charged and spent, by what one wants to know it."""

from datetime import timedelta
from urllib.parse import urlencode

from starlette.routing import Route

from imagegate.admin import accounts
from imagegate.admin.console.door import Shown, Visit, apart, looks
from imagegate.admin.console.tables import Table
from imagegate.admin.moments import timestamp
from imagegate.admin.usage import COUNTS, read_bucket, read_dimensions, show_usage
from imagegate.generation.usage import BUCKETS, DIMENSIONS

SHOWN = 200
"""Rows of the page, of buckets the last ones; `.json` and `.csv` have all."""
OF_USERS = timedelta(days=1)
"""How far back the page tells of users: no sum has their names, so each request is read."""


async def look(visit: Visit) -> Shown:
    """Ranked by what was charged, or in the order of time."""
    frame = visit.frame
    by, bucket = read_dimensions([frame.get("by") or "model"]), read_bucket(frame.get("bucket") or "none")
    env = frame.env or "live"
    since = max(frame.since, frame.now - OF_USERS) if "user" in by and not visit.whole else frame.since
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
    rows = found["rows"]
    if bucket == "none":
        rows = sorted(rows, key=lambda row: (row["charged_tokens"], row["generations"]), reverse=True)
    query = {"since": timestamp(frame.since), "until": timestamp(frame.now), "by": ",".join(by)}
    query |= {"bucket": bucket, "env": env}
    if account := frame.get("account"):
        query["account"] = account
    columns = (*(("at",) if bucket != "none" else ()), *by, *COUNTS)
    table = Table("usage", columns, rows, f"/admin/v1/usage?{urlencode(query)}")
    known = [account.name for account in await accounts.list_accounts(visit.connection)]
    context = {
        "known": known,
        "by": list(by),
        "bucket": bucket,
        "env": env,
        "shortened": since > frame.since,
        "dimensions": DIMENSIONS,
        "buckets": BUCKETS,
        "most": max((row["charged_tokens"] for row in rows), default=0),
        "rows": rows[:SHOWN] if bucket == "none" else rows[-SHOWN:],
    }
    return Shown("usage.html", context, table)


ROUTES: list[Route] = looks("/console/usage", look, table=True)
