"""The door of the admin API: who comes in, what they may, and the transaction their change is made in.

`reads`, `asks` and `writes` make a route of a plain function. What they promise for every route: an operator key with
the scope; strict JSON, and a strict query; for a write a reason, and a transaction that ends before the answer is sent.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate.admin.http.described import operation
from imagegate.admin.http.outage import answering
from imagegate.admin.http.pages import Query
from imagegate.errors import InvalidRequest, NotFound, Unauthenticated
from imagegate.identity import operators
from imagegate.identity.audit import LONGEST_REASON, Actor, said
from imagegate.identity.operators import Operator, Scope
from imagegate.services import Services
from imagegate.web.dependencies import credential_of, services_of
from imagegate.web.faults import first_fault
from imagegate.web.guards import read_json_object

MOST_BODY_BYTES = 1024 * 1024

JsonObject = dict[str, Any]


class Question(BaseModel):
    """The body of a look that does not fit into a query string. Base of all bodies."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Change(Question):
    """The body of a write. Base of those that say more than why."""

    reason: Annotated[
        str,
        Field(min_length=1, max_length=LONGEST_REASON, description="Why; the audit log keeps it for ever."),
    ]


Q = TypeVar("Q", bound=Query)
A = TypeVar("A", bound=Question)
B = TypeVar("B", bound=Change)


@dataclass(frozen=True, slots=True)
class Reading:
    """A look. path: what the route's braces stand for."""

    services: Services
    operator: Operator
    path: Mapping[str, str]
    connection: AsyncConnection


@dataclass(frozen=True, slots=True)
class Writing:
    """A change in the transaction `tx`, committed when the function returns and rolled back when it raises."""

    services: Services
    operator: Operator
    path: Mapping[str, str]
    tx: AsyncConnection
    actor: Actor


Look = Callable[[Reading, Q], Awaitable[JsonObject]]
Ask = Callable[[Reading, A], Awaitable[JsonObject]]
Do = Callable[[Writing, B], Awaitable[JsonObject]]


def reads(router: APIRouter, path: str, query: type[Q], summary: str) -> Callable[[Look[Q]], Look[Q]]:
    """A GET route of a function. Needs the scope `read`."""

    def route(look: Look[Q]) -> Look[Q]:
        add(router, "GET", path, partial(answer_read, look, query), look, "read", 200, summary, query, None)
        return look

    return route


def asks(router: APIRouter, path: str, body: type[A], summary: str) -> Callable[[Ask[A]], Ask[A]]:
    """A POST route of a function that changes nothing. Needs the scope `read`, and no reason."""

    def route(ask: Ask[A]) -> Ask[A]:
        add(router, "POST", path, partial(answer_ask, ask, body), ask, "read", 200, summary, None, body)
        return ask

    return route


def writes(
    router: APIRouter,
    path: str,
    scope: Scope,
    body: type[B],
    summary: str,
    *,
    status: int = 200,
    method: str = "POST",
) -> Callable[[Do[B]], Do[B]]:
    """A route of a function that changes something, and records it with `writing.actor`."""

    def route(do: Do[B]) -> Do[B]:
        add(
            router,
            method,
            path,
            partial(answer_write, do, scope, body, status),
            do,
            scope,
            status,
            summary,
            None,
            body,
        )
        return do

    return route


def add(
    router: APIRouter,
    method: str,
    path: str,
    answer: Callable[[Request], Awaitable[Response]],
    function: Callable[..., Any],
    scope: Scope,
    status: int,
    summary: str,
    query: type[Query] | None,
    body: type[Question] | None,
) -> None:
    async def endpoint(request: Request) -> Response:
        return await answer(request)

    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        status_code=status,
        name=function.__name__,
        summary=summary,
        description=f"{function.__doc__ or ''}\n\nNeeds an operator key with the scope `{scope}`.".strip(),
        openapi_extra=operation(path, query, body),
    )


async def answer_read(look: Look[Q], query: type[Q], request: Request) -> Response:
    async with answering(changing=False):
        operator = await enter(request, "read")
        services, wanted = services_of(request), read_query(request, query)
        async with services.engine.connect() as connection:
            return JSONResponse(await look(Reading(services, operator, path_of(request), connection), wanted))


async def answer_ask(ask: Ask[A], body: type[A], request: Request) -> Response:
    async with answering(changing=False):
        operator = await enter(request, "read")
    read_query(request, Query)
    wanted = await read_change(request, body)
    services = services_of(request)
    async with answering(changing=False), services.engine.connect() as connection:
        return JSONResponse(await ask(Reading(services, operator, path_of(request), connection), wanted))


async def answer_write(do: Do[B], scope: Scope, body: type[B], status: int, request: Request) -> Response:
    async with answering(changing=False):
        operator = await enter(request, scope)
    read_query(request, Query)
    wanted = await read_change(request, body)
    async with answering(changing=True), changing(request, operator, wanted.reason) as writing:
        answer = await do(writing, wanted)
    return JSONResponse(answer, status)


async def enter(request: Request, scope: Scope) -> Operator:
    """Who asks. Raises Unauthenticated, NotFound for an account key, and a CallerError with status 403."""
    try:
        key = credential_of(request)
    except Unauthenticated:
        text = "No operator key was sent. Send: Authorization: Bearer igo_…"
        raise Unauthenticated(text, code="missing_api_key") from None
    if key.startswith("igk_"):
        raise NotFound("There is nothing at this path.")
    services = services_of(request)
    operator = await operators.find_operator(services.engine, services.keyring, key)
    operators.require_scopes(operator, [scope])
    return operator


@asynccontextmanager
async def changing(request: Request, operator: Operator, reason: str) -> AsyncIterator[Writing]:
    """A transaction in which the operator's key stays valid: once it is revoked nothing is changed with it."""
    services = services_of(request)
    actor = Actor(operator.actor, said(reason), request.scope["imagegate.request_id"])
    path = path_of(request)
    async with services.engine.begin() as tx:
        await operators.confirm(tx, operator.id)
        yield Writing(services, operator, path, tx, actor)


def path_of(request: Request) -> dict[str, str]:
    """Raises NotFound for what no id or name can be."""
    if any("\0" in value for value in request.path_params.values()):
        raise NotFound("There is nothing at this path.")
    return dict(request.path_params)


def read_query(request: Request, query: type[Q]) -> Q:
    """Raises InvalidRequest: for what is unknown, wrong, or said twice."""
    sent = request.query_params.multi_items()
    values = dict(sent)
    if len(values) != len(sent):
        raise InvalidRequest("A parameter stands twice in the query.", code="duplicate_key")
    if any("\0" in value for value in values.values()):
        raise InvalidRequest("The query holds a NUL.", code="invalid_unicode")
    try:
        return query.model_validate(values)
    except ValidationError as error:
        raise first_fault(error) from None


async def read_change(request: Request, body: type[A]) -> A:
    """Raises what `read_json_object` raises, and InvalidRequest."""
    settings = services_of(request).settings
    most_bytes = min(settings.max_body_bytes, MOST_BODY_BYTES)
    values = await read_json_object(request, settings.model_copy(update={"max_body_bytes": most_bytes}))
    try:
        return body.model_validate(values)
    except ValidationError as error:
        raise first_fault(error) from None
