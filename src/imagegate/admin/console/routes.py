"""All routes of the console, in the order in which they are tried."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imagegate.admin.console import (
    account,
    accounts,
    gallery,
    key,
    keys,
    overview,
    pictures,
    playground,
    price_files,
    prices,
    providers,
    requests,
    signin,
    static,
    usage,
    welcome,
)
from imagegate.admin.console.door import as_pages
from imagegate.errors import NotFound


async def nothing(_: Request) -> Response:
    raise NotFound("There is nothing at this path of the console.")


PAGES = (
    signin,
    static,
    overview,
    requests,
    gallery,
    pictures,
    playground,
    usage,
    keys,
    key,
    price_files,
    prices,
    accounts,
    account,
    providers,
    welcome,
)
ROUTES: tuple[Route, ...] = (
    *(route for page in PAGES for route in page.ROUTES),
    Route("/console/{path:path}", as_pages(nothing), include_in_schema=False),
)
"""The last answers what no page does."""
