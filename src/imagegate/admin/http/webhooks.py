"""`/admin/v1/webhooks`: how the ends of async jobs are told, by account."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import webhooks
from imagegate.admin.http.door import Change, JsonObject, Question, Reading, Writing, asks, reads, writes
from imagegate.admin.http.fields import Env
from imagegate.admin.http.pages import Page, Query, after_id, listed
from imagegate.admin.webhooks import LONGEST_KEEP_H, event_json
from imagegate.registry import seals_of
from imagegate.webhooks.outbox import State

router = APIRouter()

AccountOf = Annotated[str, Field(description="`acc_…` or a name.")]


class EventsPage(Page):
    account: AccountOf
    env: Env | None = None
    state: Annotated[State | None, Field(description="`pending`: it is tried, or tried again.")] = None


class EndpointsQuery(Query):
    account: AccountOf


class NewEndpoint(Change):
    account: AccountOf
    env: Env
    url: Annotated[str | None, Field(description="Public, by https. null: events of such jobs go nowhere.")]


class SecretOf(Change):
    account: AccountOf


class SecretRotation(SecretOf):
    keep_old_h: Annotated[
        int, Field(ge=0, le=LONGEST_KEEP_H, description="How long the old one signs too, in hours.")
    ] = 24


class GenerationOf(Change):
    generation: Annotated[str, Field(description="`gen_…`")]


class TestOf(Question):
    account: AccountOf
    env: Env


@reads(router, "/webhooks", EventsPage, "List an account's events")
async def list_events(reading: Reading, page: EventsPage) -> JsonObject:
    """Newest first, each with how its latest try ended."""
    wanted = (page.account, page.env, page.state, after_id(page), page.rows)
    account, rows = await webhooks.page_events(reading.connection, *wanted)
    return listed(page, rows, lambda row: event_json(row, account), lambda row: row.id)


@reads(router, "/webhooks/endpoints", EndpointsQuery, "Show where an account's events go")
async def list_endpoints(reading: Reading, query: EndpointsQuery) -> JsonObject:
    """For live and for test: the URL for jobs that name none of their own."""
    data = await webhooks.list_endpoints(reading.connection, query.account)
    return {"object": "list", "data": data, "has_more": False, "next": None}


@writes(router, "/webhooks/endpoints", "keys:write", NewEndpoint, "Set where an account's events go")
async def set_endpoint(writing: Writing, body: NewEndpoint) -> JsonObject:
    """For jobs that are accepted from now on. Private addresses are refused unless the gateway allows them."""
    settings = writing.services.settings
    return await webhooks.set_endpoint(writing.tx, settings, body.account, body.env, body.url, writing.actor)


@writes(router, "/webhooks/secret", "keys:write", SecretOf, "Show an account's secret")
async def show_secret(writing: Writing, body: SecretOf) -> JsonObject:
    """`whsec_…`, by which receivers check what they are sent. Made at the first time; that it is shown is recorded."""
    seals = seals_of(writing.services.keyring)
    return await webhooks.show_secret(writing.tx, seals, body.account, writing.actor)


@writes(router, "/webhooks/secret/rotate", "keys:write", SecretRotation, "Rotate an account's secret")
async def rotate_secret(writing: Writing, body: SecretRotation) -> JsonObject:
    """A new secret. Until `keep_old_h` hours have passed every event carries a signature by each."""
    seals = seals_of(writing.services.keyring)
    return await webhooks.rotate_secret(writing.tx, seals, body.account, body.keep_old_h, writing.actor)


@writes(router, "/webhooks/{event}/redeliver", "keys:write", Change, "Send an event once more")
async def redeliver_event(writing: Writing, _: Change) -> JsonObject:
    """Under the same id, also when it was delivered. One that had ended is tried for another 24 hours."""
    return await webhooks.redeliver_event(writing.tx, writing.path["event"], writing.actor)


@writes(router, "/webhooks/redeliver", "keys:write", GenerationOf, "Send a generation's events once more")
async def redeliver_generation(writing: Writing, body: GenerationOf) -> JsonObject:
    """As for one event."""
    data = await webhooks.redeliver_generation(writing.tx, body.generation, writing.actor)
    return {"object": "list", "data": data, "has_more": False, "next": None}


@asks(router, "/webhooks/test", TestOf, "Send a test event")
async def send_test(reading: Reading, body: TestOf) -> JsonObject:
    """A signed `test.ping` to the account's endpoint, once and at once. `delivered` and `error` say how that went."""
    services = reading.services
    seals = seals_of(services.keyring)
    return await webhooks.send_test(
        services.engine, services.outbound, services.settings, seals, body.account, body.env
    )
