"""Requests: what was asked for, by whom and how it went; and all that is known of one."""

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Row
from starlette.routing import Route

from imagegate.admin import accounts, generations
from imagegate.admin.console.door import Shown, Visit, looks
from imagegate.admin.console.looking import further, look_back
from imagegate.admin.console.pictures import media_path
from imagegate.admin.console.tables import Table
from imagegate.admin.generation_search import Search
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
UNSHOWN = ("key", "team")
"""Filters without a field of their own: links from other pages set them, and each can be taken away."""
CLASSES = ("DELIVERED", "NOT_SENT", "REFUSED_UNBILLED", "REJECTED", "BILLED_INVALID", "AMBIGUOUS")
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
    context = {
        "known": known,
        "statuses": STATUSES,
        "live": live,
        "narrowed": [(name, value) for name in UNSHOWN if (value := frame.get(name))],
        "classes": CLASSES,
        "further": listed_["further"],
    }
    return Shown("requests.html", context, table)


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
    found = await look_back(visit, Search(**{**said, **fixed}), after_id(page), page.rows)
    shown = listed(page, found.rows, generations.Summary.to_json, lambda found: found.id)
    return shown | {"further": further(found)}


async def look_at_one(visit: Visit) -> Shown:
    """Its attempts in time, how its price came about, what moved in the ledger, and how to ask again."""
    found = await generations.show(visit.connection, visit.services.catalogue, visit.path["id"])
    row = await generations.find(visit.connection, visit.path["id"])
    (exact,) = await generations.with_attempts(visit.connection, [row])
    settings, key = visit.services.settings, visit.services.keyring.links
    request = redacted(found["request"])
    seen = enumerate(found["stored"])
    api = f"/admin/v1/generations/{found['id']}"
    context = {
        "one": found,
        "request_json": request,
        "bars": waterfall(row, exact.tried, found["attempts"]),
        "pictures": [
            image | {"url": media_path(settings, key, image), "index": index} for index, image in seen
        ],
        "again": curl_again(visit.base, found["model"], request),
    }
    table = Table("request", tuple(found), [found], api)
    return Shown("request.html", context, table)


def redacted(said: Any) -> Any:
    """Without what names a caller's own end user, and without the queries of addresses, which may hold signatures."""
    if isinstance(said, Mapping):
        return {name: HIDDEN if name == "user" else redacted(value) for name, value in said.items()}
    if isinstance(said, list):
        return [redacted(one) for one in said]
    if isinstance(said, str) and said.startswith(("http://", "https://")) and "?" in said:
        return f"{said.partition('?')[0]}?{HIDDEN}"
    return said


def waterfall(
    row: Row[Any], tried: Sequence[Row[Any]], attempts: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The request, what came before its attempts, they, and what came after: bars in the order in which they began.

    `x` and `width` in thousandths of the whole, `after_s` and `s` in seconds. tried: the attempts as rows, whose
    moments are exact; attempts: the same as they are shown.
    """
    spans = [(one.started_at, timedelta(milliseconds=one.ms)) for one in tried]
    first = min([row.created_at, *(start for start, _ in spans)])
    ends = [row.settled_at] if row.settled_at else []
    last = max([*ends, *(start + length for start, length in spans), first + timedelta(milliseconds=1)])
    whole_s = (last - first).total_seconds()

    def bar(
        says: str | None, attempt: dict[str, Any] | None, start: datetime, length: timedelta
    ) -> dict[str, Any]:
        after_s, s = (start - first).total_seconds(), length.total_seconds()
        width = max(round(s / whole_s * 1000), 4)
        shape = {"x": min(round(after_s / whole_s * 1000), 1000 - width), "width": width}
        return {"says": says, "attempt": attempt, "after_s": after_s, "s": s, **shape}

    bars = [bar("the whole request", None, first, last - first)]
    if spans:
        bars.append(
            bar("reserved: checked, priced, held", None, first, min(start for start, _ in spans) - first)
        )
    bars += [bar(None, attempt, *span) for attempt, span in zip(attempts, spans, strict=True)]
    if spans and row.settled_at and (over := max(start + length for start, length in spans)) < last:
        bars.append(bar("delivered: stored, settled", None, over, last - over))
    return bars


RENAMED = {"aspect": "aspect_ratio"}
OMITTED = ("treated", "arrived", "by_own_key", "images", "mask", "extras", "stream", "webhook_url", "user")
HIDDEN = "…"


def curl_again(base: str, model: str, request: dict[str, Any]) -> str | None:
    """The command that asks for the same again; None: the prompt was purged, or pictures were handed in as files.

    request: redacted; a picture whose address had a query is named without it.
    """
    pictures, mask = request.get("images") or [], request.get("mask")
    if "prompt" not in request or not all(named(one) for one in (*pictures, *([mask] if mask else []))):
        return None
    said = {RENAMED.get(name, name): value for name, value in request.items() if name not in OMITTED}
    body = {"model": model, **said, **request.get("extras", {})}
    if pictures:
        body["images"] = [named(one) for one in pictures]
    if mask:
        body["mask"] = named(mask)
    if "partial_images" in request:
        body["stream"] = True
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    route = f"{base}/v1/images/{'edits' if pictures else 'generations'}"
    return (
        f"curl {'-N ' if body.get('stream') else ''}{shlex.quote(route)} \\\n"
        '  -H "Authorization: Bearer $IMAGEGATE_KEY" -H "Content-Type: application/json" \\\n'
        f"  -d {data}"
    )


def named(picture: Mapping[str, Any]) -> dict[str, str] | None:
    """How a picture is handed in once more; None: its bytes are not kept."""
    if image_id := picture.get("image_id"):
        return {"image_id": image_id}
    return {"image_url": url} if (url := picture.get("url")) else None


ROUTES: list[Route] = [
    *looks("/console/requests", look, table=True),
    *looks("/console/requests/{id}", look_at_one, table=True),
]
