"""Requests: what was asked for, by whom and how it went; and all that is known of one."""

import json
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Row
from starlette.routing import Route

from imagegate.admin import accounts, generations
from imagegate.admin.console.door import Shown, Visit, looks
from imagegate.admin.console.pictures import media_path
from imagegate.admin.console.tables import Table
from imagegate.admin.generation_search import Search, search
from imagegate.admin.http.pages import Page, after_id, listed
from imagegate.admin.moments import timestamp
from imagegate.errors import InvalidRequest
from imagegate.generation.listing import STATUSES, known_as

COLUMNS = (
    "id",
    "created_at",
    "account",
    "env",
    "app",
    "model",
    "status",
    "code",
    "images",
    "charged_tokens",
    "cost_usd",
    "providers",
    "completed_at",
)
FILTERS = ("account", "env", "status", "model", "app", "team", "key", "provider", "class", "id")
ROWS = 50


async def look(visit: Visit) -> Shown:
    """Newest first, narrowed by what the address says."""
    frame = visit.frame
    listed_ = await find(visit, ROWS)
    query = {name: value for name in FILTERS if (value := frame.get(name))}
    query |= {"since": timestamp(frame.since) or "", "limit": str(ROWS)}
    table = Table(
        "requests", COLUMNS, listed_["data"], f"/admin/v1/generations?{urlencode(query)}", listed_["next"]
    )
    known = [account.name for account in await accounts.list_accounts(visit.connection)]
    live = frame.get("live") == "1" and frame.get("after") is None
    return Shown("requests.html", {"known": known, "statuses": STATUSES, "live": live}, table)


async def find(visit: Visit, limit: int, **fixed: Any) -> dict[str, Any]:
    """One page of generations, as the admin API lists them."""
    frame = visit.frame
    page = Page(limit=limit, after=frame.get("after"))
    if (status := frame.get("status")) is not None and status not in STATUSES:
        raise InvalidRequest(f"status is one of {', '.join(STATUSES)}.", param="status")
    model = frame.get("model")
    said: dict[str, Any] = {
        "account": frame.get("account"),
        "env": frame.env,
        "status": status,
        "model": known_as(visit.services.catalogue, model) if model else None,
        "key": frame.get("key"),
        "team": frame.get("team"),
        "app": frame.get("app"),
        "provider": frame.get("provider"),
        "class_": frame.get("class"),
        "since": frame.since,
        "id_text": frame.get("id"),
    }
    rows = await search(visit.connection, Search(**{**said, **fixed}), after_id(page), page.rows)
    return listed(page, rows, generations.Summary.to_json, lambda found: found.id)


async def look_at_one(visit: Visit) -> Shown:
    """Its attempts in time, how its price came about, what moved in the ledger, and how to ask again."""
    found = await generations.show(visit.connection, visit.services.catalogue, visit.path["id"])
    row = await generations.find(visit.connection, visit.path["id"])
    (exact,) = await generations.with_attempts(visit.connection, [row])
    settings, key = visit.services.settings, visit.services.keyring.links
    request = redacted(found["request"])
    api = f"/admin/v1/generations/{found['id']}"
    context = {
        "one": found,
        "request_json": request,
        "bars": waterfall(row, exact.tried, found["attempts"]),
        "pictures": [image | {"url": media_path(settings, key, image)} for image in found["stored"]],
        "again": curl_again(visit.base, found["model"], request),
    }
    table = Table("request", tuple(found), [found], api)
    return Shown("request.html", context, table)


def redacted(said: dict[str, Any]) -> dict[str, Any]:
    """Without what names a caller's own end user."""
    return {name: "…" if name == "user" else value for name, value in said.items()}


def waterfall(
    row: Row[Any], tried: Sequence[Row[Any]], attempts: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The request and its attempts as bars: `x` and `width` in thousandths of the whole, `after_s` and `s` in seconds.

    tried: the attempts as rows, whose moments are exact; attempts: the same as they are shown.
    """
    spans = [(one.started_at, timedelta(milliseconds=one.ms)) for one in tried]
    first = min([row.created_at, *(start for start, _ in spans)])
    ends = [row.settled_at] if row.settled_at else []
    last = max([*ends, *(start + length for start, length in spans), first + timedelta(milliseconds=1)])
    whole_s = (last - first).total_seconds()
    bars = [
        {
            "attempt": attempt,
            "x": round((start - first).total_seconds() / whole_s * 1000),
            "width": max(round(length.total_seconds() / whole_s * 1000), 4),
            "after_s": (start - first).total_seconds(),
            "s": length.total_seconds(),
        }
        for attempt, (start, length) in zip(attempts, spans, strict=True)
    ]
    return [{"attempt": None, "x": 0, "width": 1000, "after_s": 0.0, "s": whole_s}, *bars]


RENAMED = {"aspect": "aspect_ratio"}
OMITTED = ("treated", "arrived", "by_own_key", "images", "mask", "extras", "stream", "webhook_url", "user")


def curl_again(base: str, model: str, request: dict[str, Any]) -> str | None:
    """The command that asks for the same again; None: the prompt was purged, or pictures were handed in as files."""
    pictures = request.get("images") or []
    if "prompt" not in request or "mask" in request or any(not p.get("url") for p in pictures):
        return None
    said = {RENAMED.get(name, name): value for name, value in request.items() if name not in OMITTED}
    body = {"model": model, **said, **request.get("extras", {})}
    if pictures:
        body["input_references"] = [picture["url"] for picture in pictures]
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    return (
        f"curl {shlex.quote(base + '/v1/images/generations')} \\\n"
        '  -H "Authorization: Bearer $IMAGEGATE_KEY" -H "Content-Type: application/json" \\\n'
        f"  -d {data}"
    )


ROUTES: list[Route] = [
    *looks("/console/requests", look, table=True),
    *looks("/console/requests/{id}", look_at_one, table=True),
]
