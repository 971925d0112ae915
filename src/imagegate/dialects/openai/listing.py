"""`GET /v1/images/generations`: the caller's generations, newest first, each as the route of one gives it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate.db.base import snapshot
from imagegate.dialects.openai import reply
from imagegate.domain import Generation
from imagegate.errors import InvalidRequest
from imagegate.generation import listing
from imagegate.generation.purge import GONE, is_gone
from imagegate.services import Services
from imagegate.web.dependencies import authenticate, services_of
from imagegate.web.media import mint_links

router = APIRouter(tags=["images"])

LONGEST = 200
"""Characters of a filter's value."""


def parameter(name: str, about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


TEXT = {"type": "string", "maxLength": LONGEST}
LISTED: dict[str, Any] = {
    "security": [{"bearer": []}],
    "parameters": [
        parameter(
            "limit",
            "How many at most.",
            {"type": "integer", "minimum": 1, "maximum": listing.MOST, "default": listing.USUAL},
        ),
        parameter("after", "The id of one: those older than it.", TEXT),
        parameter("before", "The id of one: those newer than it.", TEXT),
        parameter("status", "Only those of this status.", {"type": "string", "enum": list(listing.STATUSES)}),
        parameter("model", "Only those of this model, by any of its names.", TEXT),
        parameter("app", "Only those of this app.", TEXT),
        parameter("created_after", "Seconds since 1970 or RFC 3339: made then or later.", TEXT),
        parameter("created_before", "Seconds since 1970 or RFC 3339: made earlier.", TEXT),
    ],
}


@router.get("/v1/images/generations", openapi_extra=LISTED, summary="List generations")
async def list_generations(request: Request) -> Response:
    """The generations of this account and environment, newest first, with fresh links to their images."""
    services = services_of(request)
    principal = await authenticate(request)
    limit, filters = read_limit(request), read_filters(services, request)
    after, before = (said(request, name) for name in ("after", "before"))
    async with snapshot(services.engine) as connection:
        page = await listing.list_generations(
            connection, principal, filters, limit=limit, after=after, before=before
        )
    now = datetime.now(UTC)
    data = [element(request, generation, now) for generation in page.generations]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return JSONResponse({"object": "list", "data": data, "has_more": page.has_more, **ends})


def element(request: Request, generation: Generation, now: datetime) -> dict[str, Any]:
    """As the route of one gives it; where that answers 410, without images, and saying so in `error`."""
    settings = services_of(request).settings
    if not is_gone(generation, now):
        return reply.generation_object(generation, mint_links(request, generation), settings)
    body = reply.generation_object(replace(generation, images=()), [], settings)
    return body | {"data": [], "error": {"code": "result_gone", "message": GONE}}


def read_limit(request: Request) -> int:
    text = request.query_params.get("limit")
    if text is None:
        return listing.USUAL
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= listing.MOST):
        raise InvalidRequest(f"limit is a whole number from 1 to {listing.MOST}.", param="limit")
    return int(text)


def read_filters(services: Services, request: Request) -> listing.Filters:
    since, until = (said(request, name) for name in ("created_after", "created_before"))
    model = said(request, "model")
    status = said(request, "status")
    if status is not None and status not in listing.STATUSES:
        raise InvalidRequest(f"status is one of: {', '.join(listing.STATUSES)}.", param="status")
    return listing.Filters(
        status=status,
        model=listing.known_as(services.catalogue, model) if model is not None else None,
        app=said(request, "app"),
        created_after=listing.read_moment(since, "created_after") if since is not None else None,
        created_before=listing.read_moment(until, "created_before") if until is not None else None,
    )


def said(request: Request, name: str) -> str | None:
    """A query parameter. Raises InvalidRequest when it stands twice, is empty, too long or cannot be kept."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise InvalidRequest(f"{name} stands twice in the query.", param=name)
    if values and not (1 <= len(values[0]) <= LONGEST and "\0" not in values[0]):
        raise InvalidRequest(f"{name} has 1 to {LONGEST} characters.", param=name)
    return values[0] if values else None
