"""The door of the console: `looks` and `changes` make routes of plain functions.

What they promise for every route: somebody is signed in; a change has a form of this console, this session's token and
the scope it needs, and one transaction that ends before the answer; every error is a page.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from imagegate.admin.console.frame import Frame, read_frame
from imagegate.admin.console.render import HEADERS, html
from imagegate.admin.console.session import (
    Session,
    check_csrf,
    check_origin,
    find_session,
    forbidden,
    keep,
)
from imagegate.admin.console.tables import Table
from imagegate.admin.console.uploaded import has_parts, read_parts
from imagegate.admin.http.outage import answering
from imagegate.errors import ImagegateError, InvalidRequest
from imagegate.identity import operators
from imagegate.identity.audit import Actor
from imagegate.identity.operators import Scope
from imagegate.services import Services
from imagegate.web.dependencies import link_base, services_of
from imagegate.web.guards import read_body
from imagegate.web.outages import OUTAGES, outage

MOST_FORM_BYTES = 256 * 1024
USUAL_REASON = "by console"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is signed in. frame: what the address says. base: where the gateway is reached."""

    request: Request
    services: Services
    session: Session
    frame: Frame
    base: str
    connection: AsyncConnection

    @property
    def path(self) -> Mapping[str, str]:
        return self.request.path_params

    @property
    def whole(self) -> bool:
        """Whether `.json` or `.csv` was asked for, which have all rows where a page has some."""
        return self.request.url.path.endswith((".json", ".csv"))


@dataclass(frozen=True, slots=True)
class Doing:
    """A change: the form's fields, the transaction it is made in, and who is named beside it."""

    visit: Visit
    form: Mapping[str, str]
    tx: AsyncConnection
    actor: Actor


@dataclass(frozen=True, slots=True)
class Shown:
    """A page: its template and what stands in it. table: what `.json` and `.csv` give."""

    template: str
    context: dict[str, Any]
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """What follows a change: another page. then: what must not be done before the change is committed."""

    to: str
    then: Callable[[], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True)
class After:
    """What follows a change: a page that is made once the change is committed."""

    show: Callable[[], Awaitable[Shown]]


Look = Callable[[Visit], Awaitable[Shown]]
Do = Callable[[Doing], Awaitable[Shown | Gone | After | dict[str, Any]]]


def looks(path: str, look: Look, *, table: bool = False) -> list[Route]:
    """A page; with `table` also as `.json` and `.csv`, with the same query."""
    routes = []
    for form in ("json", "csv") if table else ():
        routes.append(Route(f"{path}.{form}", page_of(look, form), methods=["GET"], include_in_schema=False))
    routes.append(Route(path, page_of(look, "html"), methods=["GET"], include_in_schema=False))
    return routes


def changes(path: str, scope: Scope, do: Do) -> list[Route]:
    """A form's target. Needs the scope."""

    async def endpoint(request: Request) -> Response:
        async with answering(changing=False):
            check_origin(request)
            form = await read_form(request)
        async with answering(changing=True), visiting(request) as visit:
            if visit is None:
                return to_sign_in(request)
            check_csrf(visit.session, form.get("csrf") or request.headers.get("x-csrf", ""))
            if not visit.session.may(scope):
                raise forbidden(
                    f"This needs the scope {scope}, and your sign-in may only read.", code="read_only"
                )
            reason = form.get("reason", "").strip() or USUAL_REASON
            actor = Actor(visit.session.who, reason, request.scope["imagegate.request_id"])
            async with apart(visit) as tx, tx.begin():
                if visit.session.operator is not None:
                    await operators.confirm(tx, visit.session.operator.id)
                done = await do(Doing(visit, form, tx, actor))
            if isinstance(done, Gone) and done.then is not None:
                await done.then()
            return answer(visit, await done.show() if isinstance(done, After) else done)

    return [Route(path, as_pages(endpoint), methods=["POST"], include_in_schema=False)]


def page_of(look: Look, form: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        async with answering(changing=False), visiting(request) as visit:
            if visit is None:
                return to_sign_in(request)
            shown = await look(visit)
            if form == "html" or shown.table is None:
                return answer(visit, shown)
            return shown.table.as_json() if form == "json" else shown.table.as_csv()

    return as_pages(endpoint)


@asynccontextmanager
async def visiting(request: Request) -> AsyncIterator[Visit | None]:
    """None: nobody is signed in."""
    services = services_of(request)
    async with services.engine.connect() as connection:
        session = await find_session(request, connection)
        if session is None:
            yield None
            return
        frame = read_frame(request)
        yield Visit(request, services, session, frame, link_base(request), connection)


@asynccontextmanager
async def apart(visit: Visit) -> AsyncIterator[AsyncConnection]:
    """The visit's own connection, for a transaction apart from what was read before: what is set for it ends with it.

    A visit takes one connection, never a second: many who look at once would wait for each other, and callers for them.
    """
    await visit.connection.rollback()
    try:
        yield visit.connection
    finally:
        await visit.connection.rollback()


def answer(visit: Visit, shown: Shown | Gone | dict[str, Any]) -> Response:
    if isinstance(shown, dict):
        return JSONResponse(shown, headers=HEADERS)
    if isinstance(shown, Gone):
        return RedirectResponse(shown.to, 303, headers=HEADERS)
    known = {"visit": visit, "session": visit.session, "frame": visit.frame, "table": shown.table}
    money = {"settings": visit.services.settings, "base": visit.base}
    response = html(shown.template, {**known, **money, **shown.context})
    if visit.session.fresh:
        keep(visit.request, response, visit.session.ticket)
    return response


def to_sign_in(request: Request) -> Response:
    """Scripts are told; a browser is sent there."""
    if request.url.path.endswith((".json", ".csv")) or request.method != "GET":
        return refusal(
            request, forbidden("Nobody is signed in here. Sign in at /console/sign-in.", code="signed_out")
        )
    return RedirectResponse("/console/sign-in", 303, headers=HEADERS)


def as_pages(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Errors become pages, or JSON where a script asked."""

    async def told(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ImagegateError as error:
            return refusal(request, error)
        except OUTAGES as error:
            return refusal(request, outage(error))

    return told


def refusal(request: Request, error: ImagegateError) -> Response:
    id_ = request.scope.get("imagegate.request_id", "")
    if request.headers.get("accept", "").startswith("application/json") or request.url.path.endswith(".json"):
        body = {"error": {"code": error.code, "message": error.message, "request_id": id_}}
        return JSONResponse(body, error.status, headers=HEADERS)
    return html("error.html", {"error": error, "request_id": id_}, error.status)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, each once. Raises InvalidRequest and what `read_body` and `read_parts` raise."""
    if has_parts(request):
        return await read_parts(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidRequest("Send a form: application/x-www-form-urlencoded.", code="invalid_form")
    settings = services_of(request).settings
    body = await read_body(request, settings.model_copy(update={"max_body_bytes": MOST_FORM_BYTES}))
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise InvalidRequest("The form is not valid.", code="invalid_form") from None
    if any(len(values) > 1 or "\0" in values[0] for values in fields.values()):
        raise InvalidRequest("The form is not valid: a field stands twice.", code="invalid_form")
    return {name: values[0] for name, values in fields.items()}


def said(form: Mapping[str, str], name: str) -> str | None:
    """A field without the blanks around it; None where it is empty."""
    return form.get(name, "").strip() or None


def whole(form: Mapping[str, str], name: str) -> int:
    """A whole number, with or without commas between thousands. Raises InvalidRequest."""
    text = form.get(name, "").replace(",", "").replace(" ", "").strip()
    if not text.isascii() or not text.lstrip("-").isdigit() or len(text) > 17:
        raise InvalidRequest(f"{name} is a whole number.", param=name)
    return int(text)
