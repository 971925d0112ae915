"""`GET /v1/images/generations`: the caller's generations, newest first, each as the route of one gives it."""

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
from imagegate.generation.purge import is_gone
from imagegate.services import Services
from imagegate.web.dependencies import authenticate, services_of
from imagegate.web.media import mint_links
from imagegate.web.queries import LIMIT, LONGEST, parameter, read_limit, said

router = APIRouter(tags=["images"])

TEXT = {"type": "string", "maxLength": LONGEST}
LISTED: dict[str, Any] = {
    "security": [{"bearer": []}],
    "parameters": [
        LIMIT,
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
    if is_gone(generation, now):
        return reply.gone_object(generation, settings)
    return reply.generation_object(generation, mint_links(request, generation), settings)


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
