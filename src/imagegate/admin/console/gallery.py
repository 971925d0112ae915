"""The gallery: pictures that were made, newest first, to be searched by their prompts and looked at large."""

from functools import partial
from urllib.parse import urlencode

from starlette.routing import Route

from imagegate.admin import accounts, generations
from imagegate.admin.console.door import Doing, Gone, Shown, Visit, changes, looks
from imagegate.admin.console.pictures import media_path
from imagegate.admin.console.tables import Table
from imagegate.admin.generation_search import Search, search
from imagegate.admin.http.pages import Page, after_id, listed
from imagegate.admin.moments import timestamp
from imagegate.admin.pictures import pictures_of, prompt_of
from imagegate.generation.purge import remove_objects

COLUMNS = ("id", "created_at", "account", "env", "model", "prompt", "charged_tokens", "images")
ROWS = 24


async def look(visit: Visit) -> Shown:
    """Generations that have pictures, each with the first of them."""
    frame, connection = visit.frame, visit.connection
    page = Page(limit=ROWS, after=frame.get("after"))
    wanted = Search(
        account=frame.get("account"),
        env=frame.env,
        status="completed",
        since=frame.since,
        prompt=frame.get("q"),
    )
    found = await search(connection, wanted, after_id(page), page.rows)
    rows = listed(page, found, lambda one: one.to_json() | {"prompt": prompt_of(one.row)}, lambda one: one.id)
    stored = await pictures_of(connection, [one.row for one in found])
    settings, key = visit.services.settings, visit.services.keyring.links
    shown = [
        {"one": row, "urls": [media_path(settings, key, image) for image in stored.get(row["id"], ())]}
        for row in rows["data"]
    ]
    query = {name: value for name in ("account", "env") if (value := frame.get(name))}
    query |= {"status": "completed", "since": timestamp(frame.since) or "", "limit": str(ROWS)}
    table = Table("gallery", COLUMNS, rows["data"], f"/admin/v1/generations?{urlencode(query)}", rows["next"])
    known = [account.name for account in await accounts.list_accounts(connection)]
    return Shown("gallery.html", {"shown": shown, "known": known}, table)


async def purge(doing: Doing) -> Gone:
    """Prompt and pictures go, for good; what was billed stays."""
    id_ = doing.visit.path["id"]
    purged = await generations.mark_purged(doing.tx, id_, doing.actor)
    return Gone(f"/console/requests/{id_}", then=partial(remove_objects, doing.visit.services.store, purged))


ROUTES: list[Route] = [
    *looks("/console/gallery", look, table=True),
    *changes("/console/requests/{id}/purge", "generations:write", purge),
]
