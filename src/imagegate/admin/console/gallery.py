"""The gallery: pictures that were made, newest first, to be searched by their prompts and looked at large."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from imagegate.admin import accounts, generations
from imagegate.admin.console.door import Doing, Gone, Shown, Visit, changes, looks, said
from imagegate.admin.console.looking import further, look_back
from imagegate.admin.console.pictures import media_path, thumb_path
from imagegate.admin.console.tables import Table
from imagegate.admin.generation_search import Search, search
from imagegate.admin.generations import Summary
from imagegate.admin.http.pages import Page, after_id, listed
from imagegate.admin.moments import timestamp
from imagegate.admin.pictures import pictures_of, prompt_of
from imagegate.generation.listing import known_as
from imagegate.generation.purge import remove_objects

COLUMNS = ("id", "created_at", "account", "env", "model", "prompt", "charged_tokens", "images")
FILTERS = ("account", "env", "model")
ROWS = 24


async def look(visit: Visit) -> Shown:
    """Generations that have pictures, each with the first of them."""
    frame, connection = visit.frame, visit.connection
    page = Page(limit=ROWS, after=frame.get("after"))
    looked = await look_back(visit, wanted(visit), after_id(page), page.rows)
    found = looked.rows
    rows = listed(page, found, with_prompt, lambda one: one.id)
    stored = await pictures_of(connection, [one.row for one in found])
    shown = [{"one": row, "small": smalls(row["id"], stored.get(row["id"], ()))} for row in rows["data"]]
    query = {name: value for name in FILTERS if (value := frame.get(name))}
    query |= {"status": "completed", "since": timestamp(frame.since) or "", "limit": str(ROWS)}
    table = Table("gallery", COLUMNS, rows["data"], f"/admin/v1/generations?{urlencode(query)}", rows["next"])
    known = [account.name for account in await accounts.list_accounts(connection)]
    return Shown("gallery.html", {"shown": shown, "known": known, "further": further(looked)}, table)


def wanted(visit: Visit) -> Search:
    """What the address says. Raises InvalidRequest."""
    frame = visit.frame
    model = frame.get("model")
    return Search(
        account=frame.get("account"),
        env=frame.env,
        status="completed",
        model=known_as(visit.services.catalogue, model) if model else None,
        since=frame.since,
        prompt=frame.get("q"),
    )


def with_prompt(one: Summary) -> dict[str, Any]:
    return one.to_json() | {"prompt": prompt_of(one.row)}


def smalls(generation: str, images: Any) -> list[str | None]:
    return [thumb_path(generation, index, image) for index, image in enumerate(images)]


async def look_at_one(visit: Visit) -> Shown:
    """Its pictures large, what was asked and paid, and the next one of the same search."""
    services = visit.services
    one = await generations.show(visit.connection, services.catalogue, visit.path["id"])
    row = await generations.find(visit.connection, visit.path["id"])
    older = await search(visit.connection, wanted(visit), row.id, 1)
    settings, key = services.settings, services.keyring.links
    pictures = [
        image | {"url": media_path(settings, key, image), "index": index}
        for index, image in enumerate(one["stored"])
    ]
    context = {"one": one, "pictures": pictures, "older": older[0].to_json()["id"] if older else None}
    table = Table("picture", tuple(one), [one], f"/admin/v1/generations/{one['id']}")
    return Shown("picture.html", context, table)


async def purge(doing: Doing) -> Gone:
    """Prompt and pictures go, for good; what was billed stays."""
    id_ = doing.visit.path["id"]
    purged = await generations.mark_purged(doing.tx, id_, doing.actor)
    to = "/console/gallery" if said(doing.form, "back") == "gallery" else f"/console/requests/{id_}"
    return Gone(to, then=partial(remove_objects, doing.visit.services.store, purged))


ROUTES: list[Route] = [
    *looks("/console/gallery", look, table=True),
    *looks("/console/gallery/{id}", look_at_one, table=True),
    *changes("/console/requests/{id}/purge", "generations:write", purge),
]
