"""Tables beside a page's main one, each with its own `.json` and `.csv`."""

from collections.abc import Awaitable, Callable

from starlette.routing import Route

from imagegate.admin.console.door import Shown, Visit, as_pages, page_of
from imagegate.admin.console.tables import Table


def beside(path: str, read: Callable[[Visit], Awaitable[Table]]) -> list[Route]:
    """The table at `{path}.json` and `{path}.csv`; the page that shows it names it `path` in its `subtaps`."""

    async def look(visit: Visit) -> Shown:
        return Shown("error.html", {}, await read(visit))

    return [
        Route(f"{path}.{form}", as_pages(page_of(look, form)), methods=["GET"], include_in_schema=False)
        for form in ("json", "csv")
    ]
