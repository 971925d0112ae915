"""Coming in and going out: by a link that works once, by an operator key; and leaving for good."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from imagegate.admin.console.door import as_pages, read_form
from imagegate.admin.console.frame import HOME
from imagegate.admin.console.render import HEADERS, html
from imagegate.admin.console.session import (
    check_csrf,
    check_no_account,
    check_origin,
    find_session,
    forget,
    keep,
)
from imagegate.admin.http.outage import answering
from imagegate.errors import NotFound
from imagegate.identity import console, operators
from imagegate.identity.console import ENTRY, Ticket
from imagegate.web.dependencies import services_of


async def show(request: Request) -> Response:
    """The form; with a link's token a button, which the page presses itself: a GET alone uses no link up."""
    async with answering(changing=False), services_of(request).engine.connect() as connection:
        session = await find_session(request, connection)
    token = request.query_params.get("token", "")[: console.LONGEST]
    if session is not None and not token:
        return RedirectResponse(HOME, 303, headers=HEADERS)
    return html("signin.html", {"token": token})


async def enter(request: Request) -> Response:
    """Raises Unauthenticated, NotFound for an account's key, and a CallerError with status 403."""
    async with answering(changing=True):
        check_no_account(request)
        check_origin(request)
        form = await read_form(request)
        ticket = await (by_link(request, form["token"]) if form.get("token") else by_key(request, form))
    response = RedirectResponse(HOME, 303, headers=HEADERS)
    keep(request, response, ticket)
    return response


async def by_link(request: Request, token: str) -> Ticket:
    services = services_of(request)
    async with services.engine.begin() as tx:
        link = await console.use_link(tx, services.keyring.console_keys, token)
    return console.new_session(link.role, link.who)


async def by_key(request: Request, form: dict[str, str]) -> Ticket:
    """What the session may do are the key's scopes, for as long as the key is good."""
    key, services = form.get("key", "").strip(), services_of(request)
    if key.startswith("igk_"):
        raise NotFound("There is nothing here for the key of an account. Sign in with an operator key: igo_…")
    operator = await operators.find_operator(services.engine, services.keyring, key)
    return console.new_session("read", operator.actor, operator.id)


async def leave(request: Request) -> Response:
    """The session opens nothing any more, whoever has kept a copy of the cookie."""
    async with answering(changing=True):
        check_origin(request)
        form = await read_form(request)
        services = services_of(request)
        async with services.engine.begin() as tx:
            session = await find_session(request, tx)
            if session is not None:
                check_csrf(session, form.get("csrf", ""))
                await console.spend(tx, session.ticket)
    response = RedirectResponse(ENTRY, 303, headers=HEADERS)
    forget(request, response)
    return response


ROUTES = (
    Route(ENTRY, as_pages(show), methods=["GET"], include_in_schema=False),
    Route(ENTRY, as_pages(enter), methods=["POST"], include_in_schema=False),
    Route("/console/sign-out", as_pages(leave), methods=["POST"], include_in_schema=False),
)
