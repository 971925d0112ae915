"""Lumenfall's native routes: the balance, the log of requests, and its purge. Its image routes are OpenAI's.

Wire format: https://docs.lumenfall.ai/api-reference, read 2026-11-21. A request is a generation: what was refused
before tokens were set aside has none, and is not listed.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate.db.base import snapshot
from imagegate.domain import Generation, Principal
from imagegate.errors import InvalidRequest, NotFound
from imagegate.generation import listing, records
from imagegate.generation.purge import remove_objects
from imagegate.identity.audit import Actor, record
from imagegate.ids import parse_public_id, public_id
from imagegate.journal import purging
from imagegate.ledger.wallets import get_wallet
from imagegate.services import Services
from imagegate.settings import Settings
from imagegate.web.dependencies import authenticate, is_set, services_of
from imagegate.web.openapi import answered
from imagegate.web.queries import LIMIT, parameter, read_limit, said

router = APIRouter(tags=["lumenfall"])

PATH = "/v1/requests"
STATUSES = {
    "completed": "completed",
    "pending": "queued",
    "processing": "in_progress",
    "upstream_failure": "upstream_failure",
    "rejected": "rejected",
    "cancelled": "cancelled",
}
"""Lumenfall's words, and ours for a filter of the list."""
CURSORS = ("starting_after", "ending_before")
KEPT = ("limit", "created_after", "created_before", "key_id", "status", "summary")
"""Parameters that the addresses of the next and the previous page repeat."""
LAST = datetime.max.replace(tzinfo=UTC)

TEXT = {"type": "string"}
BALANCE = {
    "object": "balance",
    "billing_type": "prepaid",
    "available": {"amount": 12.5, "currency": "usd", "tokens": 12_500_000},
}
ENTRY = {
    "id": "gen_01a2003f29447fff81daa2f29e6f4d75",
    "object": "request",
    "created_at": "2026-11-21T22:36:07.179Z",
    "model": "openai/dall-e-3",
    "modality": "image",
    "endpoint": "/openai/v1/images/generations",
    "status": "completed",
    "cost": 0.08,
    "currency": "usd",
    "duration_ms": 2_340,
}
PAGE = {
    "object": "list",
    "data": [ENTRY],
    "has_more": False,
    "next_page_url": None,
    "previous_page_url": None,
}
PURGED = {"id": ENTRY["id"], "purged": True, "already_purged": False, "media_deleted": 2}
LISTED: dict[str, Any] = answered(PAGE) | {
    "parameters": [
        LIMIT,
        parameter("starting_after", "The id of one: those older than it.", TEXT),
        parameter("ending_before", "The id of one: those newer than it.", TEXT),
        parameter("created_after", "RFC 3339: made then or later.", TEXT),
        parameter("created_before", "RFC 3339: made then or earlier.", TEXT),
        parameter("key_id", "Only those of this API key.", TEXT),
        parameter("status", "Only those of this status.", {"type": "string", "enum": list(STATUSES)}),
        parameter(
            "summary", "true: with number and cost of all that match.", {"type": "boolean", "default": False}
        ),
    ]
}


@router.get("/v1/balance", openapi_extra=answered(BALANCE), summary="Show the balance")
async def balance(request: Request) -> Response:
    """What can be spent, in units of the currency and in tokens; of the test wallet with a test key."""
    services = services_of(request)
    principal = await authenticate(request)
    async with services.engine.connect() as connection:
        wallet = await get_wallet(connection, principal.account_id, principal.env)
    settings = services.settings
    available = {
        "amount": units(wallet.available_tokens, settings),
        "currency": settings.currency.lower(),
        "tokens": wallet.available_tokens,
    }
    return JSONResponse({"object": "balance", "billing_type": "prepaid", "available": available})


@router.get(PATH, openapi_extra=LISTED, summary="List requests")
async def list_requests(request: Request) -> Response:
    """The requests of this account and environment, newest first, and the addresses of the pages beside this one."""
    services = services_of(request)
    principal = await authenticate(request)
    limit, filters = read_limit(request), read_filters(request)
    after, before = (said(request, name) for name in CURSORS)
    if after is not None and before is not None:
        raise InvalidRequest("starting_after and ending_before exclude each other.", param=CURSORS[1])
    summed = is_set(request, "summary")
    body: dict[str, Any] = {"object": "list"}
    async with snapshot(services.engine) as connection:
        page = await listing.list_generations(
            connection, principal, filters, limit=limit, after=after, before=before, cursors=CURSORS
        )
        if summed:
            count, tokens = await listing.add_up(connection, principal, filters)
            total = {"total_cost": units(tokens, services.settings), "total_requests": count}
            body["summary"] = total | {"currency": services.settings.currency.lower()}
    body["data"] = [request_object(generation, services.settings) for generation in page.generations]
    older, newer = neighbours(request, page, upwards=before is not None, begun=after is not None)
    pages = {"has_more": older is not None, "next_page_url": older, "previous_page_url": newer}
    return JSONResponse(body | pages)


@router.get(PATH + "/{request_id}", openapi_extra=answered(ENTRY), summary="Show a request")
async def get_request(request: Request) -> Response:
    """One request, as the list shows it, also when its payloads were purged."""
    services = services_of(request)
    principal = await authenticate(request)
    async with snapshot(services.engine) as connection:
        found = await records.read_generation(connection, principal, request.path_params["request_id"])
    return JSONResponse(request_object(found, services.settings))


@router.delete(PATH + "/{request_id}/payloads", openapi_extra=answered(PURGED), summary="Purge a request")
async def purge(request: Request) -> Response:
    """Remove prompt, parameters and images, for good; what was billed, charged and tried stays. Again is no error.

    409 `generation_in_progress` while the request is still being made.
    """
    services = services_of(request)
    principal = await authenticate(request)
    named = request.path_params["request_id"]
    purged, already = await mark(services, principal, named, request.scope["imagegate.request_id"])
    # Only now: what is not committed may yet be rolled back, and the images with it be there again.
    removed = await remove_objects(services.store, purged)
    told = {"id": named, "purged": True, "already_purged": already, "media_deleted": removed}
    return JSONResponse(told)


async def mark(
    services: Services, principal: Principal, named: str, request_id: str
) -> tuple[purging.Purged, bool]:
    """The mark, committed, and whether there was one before. Raises NotFound and Conflict."""
    generation_id = parse_public_id("gen", named)
    if generation_id is None:
        raise NotFound("There is no such generation.")
    key = public_id("key", principal.key_id)
    async with services.engine.begin() as tx:
        already = await purging.is_purged(tx, principal.account_id, principal.env, generation_id)
        purged = await purging.mark(tx, principal.account_id, principal.env, generation_id)
        if not already:
            actor = Actor(key, "the account purged its own request", request_id)
            detail = {"images": purged.images}
            await record(
                tx, actor, "generations.purge", named, account_id=principal.account_id, detail=detail
            )
    return purged, already


def read_filters(request: Request) -> listing.Filters:
    """Raises InvalidRequest."""
    since, until = (moment(request, name) for name in ("created_after", "created_before"))
    key, status = said(request, "key_id"), said(request, "status")
    key_id = parse_public_id("key", key) if key is not None else None
    if key is not None and key_id is None:
        raise InvalidRequest("key_id is the id of an API key: key_ and 32 hex digits.", param="key_id")
    if status is not None and status not in STATUSES:
        raise InvalidRequest(f"status is one of: {', '.join(STATUSES)}.", param="status")
    return listing.Filters(
        status=STATUSES[status] if status is not None else None,
        created_after=since,
        # Here the end counts too; our list ends before it.
        created_before=until + timedelta(microseconds=1) if until is not None and until < LAST else until,
        key_id=key_id,
    )


def moment(request: Request, name: str) -> datetime | None:
    text = said(request, name)
    return listing.read_moment(text, name) if text is not None else None


def neighbours(
    request: Request, page: listing.Page, *, upwards: bool, begun: bool
) -> tuple[str | None, str | None]:
    """The addresses of the older and of the newer page; None where there is none.

    upwards: the walk goes to newer ones. begun: it has come from newer ones, which thus are there.
    """
    if not page.generations:
        return None, None
    older = upwards or page.has_more
    newer = page.has_more if upwards else begun
    kept = [(name, value) for name, value in request.query_params.multi_items() if name in KEPT]
    ends = (page.generations[-1].public_id, page.generations[0].public_id)
    pages = (
        f"{PATH}?{urlencode([(cursor, end), *kept])}" if there else None
        for cursor, end, there in zip(CURSORS, ends, (older, newer), strict=True)
    )
    return next(pages), next(pages)


def request_object(generation: Generation, settings: Settings) -> dict[str, Any]:
    """A generation as an entry of the log. `endpoint` is OpenAI's route, whichever dialect it came by."""
    failed = generation.status in ("failed", "cancelled")
    ended = generation.completed_at
    drawn = sum(image.size_bytes for image in generation.images)
    arrived, said = (generation.request.get(part, {}) for part in ("arrived", "extras"))
    edited = "inputs" in generation.quote or "images" in generation.request
    return {
        "id": generation.public_id,
        "object": "request",
        "created_at": generation.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "model": generation.model,
        "modality": "image",
        "endpoint": "/openai/v1/images/edits" if edited else "/openai/v1/images/generations",
        "status": status_of(generation),
        "cost": units(generation.charged_tokens, settings),
        "currency": settings.currency.lower(),
        "duration_ms": lasted_ms(generation.created_at, ended) if ended else None,
        "key_id": public_id("key", generation.key_id) if generation.key_id else None,
        "error_code": generation.error_code if failed else None,
        "error_message": generation.error_message if failed else None,
        "session_id": arrived.get("session_id") or said.get("session_id"),
        "trace_id": arrived.get("trace_id"),
        "user": generation.request.get("user"),
        "request_size_bytes": arrived.get("body_bytes"),
        "response_size_bytes": drawn or None,
        "charged_tokens": generation.charged_tokens,
    }


def status_of(generation: Generation) -> str:
    if generation.status == "failed":
        at_fault = generation.error_status is not None and generation.error_status < 500
        return "rejected" if at_fault else "upstream_failure"
    return next(theirs for theirs, ours in STATUSES.items() if ours == generation.status)


def lasted_ms(begun: datetime, ended: datetime) -> int:
    """Not below zero: the two are told by different clocks."""
    return max(round((ended - begun).total_seconds() * 1000), 0)


def units(tokens: int, settings: Settings) -> float:
    """Tokens in units of the currency; a number, since clients add it up."""
    return float(Decimal(tokens) / settings.tokens_per_currency_unit)
