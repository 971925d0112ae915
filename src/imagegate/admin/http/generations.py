"""`/admin/v1/generations`: across all accounts."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate.admin import generations
from imagegate.admin.generation_search import Search, search
from imagegate.admin.generations import Summary, purged_json, refund_json
from imagegate.admin.http.door import (
    Change,
    JsonObject,
    Reading,
    Writing,
    add,
    changing,
    enter,
    read_change,
    read_query,
    reads,
    writes,
)
from imagegate.admin.http.fields import Env, Moment, Tokens
from imagegate.admin.http.outage import answering
from imagegate.admin.http.pages import Page, Query, after_id, listed
from imagegate.generation.listing import known_as
from imagegate.generation.purge import remove_objects
from imagegate.ledger.refunds import LONGEST_CAUSE
from imagegate.web.dependencies import services_of

router = APIRouter()

Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]


class GenerationsPage(Page):
    account: Annotated[str | None, Field(description="Only of this account: `acc_…` or a name.")] = None
    env: Env | None = None
    status: Status | None = None
    model: Annotated[str | None, Field(description="Any name of a model.")] = None
    key: Annotated[str | None, Field(description="`key_…`")] = None
    team: Annotated[str | None, Field(description="The label of its key.")] = None
    app: Annotated[str | None, Field(description="The label of its key.")] = None
    provider: Annotated[str | None, Field(description="One that was asked.")] = None
    class_: Annotated[
        str | None,
        Field(alias="class", description="How an attempt ended, as `AMBIGUOUS`; with `provider` its."),
    ] = None
    since: Annotated[Moment | None, Field(description="Made then or later.")] = None
    until: Annotated[Moment | None, Field(description="Made earlier.")] = None
    id: Annotated[
        str | None, Field(max_length=40, description="Text that its id has in it, 4 digits or more.")
    ] = None


class Refunding(Change):
    cause: Annotated[
        str,
        Field(min_length=1, max_length=LONGEST_CAUSE, description="What it is for; each is given back once."),
    ] = "operator"
    tokens: Annotated[Tokens | None, Field(description="null = all that is left of the charge.")] = None


@reads(router, "/generations", GenerationsPage, "Search generations")
async def list_generations(reading: Reading, page: GenerationsPage) -> JsonObject:
    """Generations, newest first, with what they were charged and what they cost upstream."""
    catalogue = reading.services.catalogue
    wanted = Search(
        account=page.account,
        env=page.env,
        status=page.status,
        model=known_as(catalogue, page.model) if page.model is not None else None,
        key=page.key,
        team=page.team,
        app=page.app,
        provider=page.provider,
        class_=page.class_,
        since=page.since,
        until=page.until,
        id_text=page.id,
    )
    rows = await search(reading.connection, wanted, after_id(page), page.rows)
    return listed(page, rows, Summary.to_json, lambda found: found.id)


@reads(router, "/generations/{generation}", Query, "Show a generation")
async def get_generation(reading: Reading, _: Query) -> JsonObject:
    """One generation: its request, `bill` (how its charge came about), attempts, images, and the ledger's transfers."""
    catalogue = reading.services.catalogue
    return await generations.show(reading.connection, catalogue, reading.path["generation"])


@writes(router, "/generations/{generation}/refund", "generations:write", Refunding, "Refund a generation")
async def refund(writing: Writing, body: Refunding) -> JsonObject:
    """Back to the wallet it came from. `new` is false when this cause had been refunded before; nothing moves then."""
    named = writing.path["generation"]
    return refund_json(
        await generations.refund(writing.tx, named, cause=body.cause, actor=writing.actor, tokens=body.tokens)
    )


async def purge(request: Request) -> Response:
    """Remove prompt and images, for good; what was billed, charged and tried stays. Again is no error, and finishes.

    From then on the caller who fetches it is answered 410 `result_gone`.
    """
    async with answering(changing=False):
        operator = await enter(request, "generations:write")
    read_query(request, Query)
    wanted = await read_change(request, Change)
    async with answering(changing=True), changing(request, operator, wanted.reason) as writing:
        purged = await generations.mark_purged(writing.tx, writing.path["generation"], writing.actor)
    # Only now: what is not committed may yet be rolled back, and the images with it be there again.
    removed = await remove_objects(services_of(request).store, purged)
    return JSONResponse(purged_json(purged, removed))


add(
    router,
    "POST",
    "/generations/{generation}/purge",
    purge,
    purge,
    "generations:write",
    200,
    "Purge a generation",
    None,
    Change,
)
