"""Welcome: what there is to do first, and how each client is connected to this gateway."""

from starlette.routing import Route

from imagegate.admin import accounts, keys
from imagegate.admin.console.door import Shown, Visit, looks
from imagegate.admin.generation_search import Search, search
from imagegate.identity.rotation import KeyFilter


async def look(visit: Visit) -> Shown:
    connection, services = visit.connection, visit.services
    drawn = await search(connection, Search(status="completed"), None, 1)
    keys_ = await keys.page_keys(connection, KeyFilter(status="active"), None, 1)
    asked = [name for name in services.credentials if name != "sandbox"]
    context = {
        "drawn": drawn[0].to_json() if drawn else None,
        "has_account": bool(await accounts.page_accounts(connection, None, 1)),
        "has_key": bool(keys_),
        "asked": asked,
    }
    return Shown("welcome.html", context)


ROUTES: list[Route] = looks("/console/welcome", look)
