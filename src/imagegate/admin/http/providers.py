"""`/admin/v1/providers`: who can be asked, with which of our keys, and how they do."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, SecretStr

from imagegate.admin import provider_hours, provider_trial, providers
from imagegate.admin.http.door import Change, JsonObject, Question, Reading, Writing, asks, reads, writes
from imagegate.admin.http.pages import Query
from imagegate.admin.providers import Place, key_json
from imagegate.registry import load_access
from imagegate.services import Services

router = APIRouter()


class NewProviderKey(Change):
    name: Annotated[
        str, Field(min_length=1, max_length=200, description="How operators tell it from others.")
    ]
    key: Annotated[
        SecretStr, Field(min_length=1, max_length=4096, description="The key itself; never shown again.")
    ]


class HoursQuery(Query):
    provider: Annotated[str | None, Field(max_length=100, description="One alone; null = all.")] = None
    hours: Annotated[
        int, Field(ge=1, le=provider_hours.MOST_HOURS, description="How many, the running one too.")
    ] = provider_hours.HOURS


class Trying(Change):
    offering: Annotated[
        str | None, Field(max_length=200, description="As `health` names it; null = all that rest.")
    ] = None


@reads(router, "/providers", Query, "List providers")
async def list_providers(reading: Reading, _: Query) -> JsonObject:
    """All providers of the catalogue. How keys and offerings do is what the process that answers has seen."""
    data = await providers.list_providers(reading.connection, place_of(reading.services))
    return {"object": "list", "data": data, "has_more": False, "next": None}


@reads(router, "/providers/hours", HoursQuery, "Show how providers did")
async def list_hours(reading: Reading, query: HoursQuery) -> JsonObject:
    """By hour, newest first: attempts by how they ended, the share that delivered, p50 and p95 of those.

    From the attempts of all processes. `sampled`: there were more than 100,000, so the first ones of each hour were
    looked at.
    """
    found = await provider_hours.read_hours(reading.connection, query.provider, query.hours)
    data = [row.to_json() for row in found.rows]
    return {"object": "list", "data": data, "has_more": False, "next": None, "sampled": found.sampled}


@reads(router, "/providers/{provider}", Query, "Show a provider")
async def get_provider(reading: Reading, _: Query) -> JsonObject:
    """As in the list, with its latest revoked keys."""
    return await shown(reading, reading.path["provider"])


@writes(router, "/providers/{provider}/keys", "providers:write", NewProviderKey, "Add a key", status=201)
async def add_key(writing: Writing, body: NewProviderKey) -> JsonObject:
    """Sealed at rest, and in use in every process within two seconds. The answer does not hold the key."""
    place, provider = place_of(writing.services), writing.path["provider"]
    return key_json(await providers.add_key(writing.tx, place, provider, body.name, body.key, writing.actor))


@writes(router, "/providers/keys/{provider_key}/revoke", "providers:write", Change, "Revoke a provider's key")
async def revoke_key(writing: Writing, _: Change) -> JsonObject:
    """For good: the sealed key is deleted here. Withdraw it at the provider as well. Revoking again is no error."""
    return key_json(await providers.revoke_key(writing.tx, writing.path["provider_key"], writing.actor))


@writes(router, "/providers/{provider}/enable", "providers:write", Change, "Enable a provider")
async def enable_provider(writing: Writing, _: Change) -> JsonObject:
    """It may be asked again."""
    return await switched(writing, enabled=True)


@writes(router, "/providers/{provider}/disable", "providers:write", Change, "Disable a provider")
async def disable_provider(writing: Writing, _: Change) -> JsonObject:
    """Nobody asks it any more. What it has accepted is finished and paid."""
    return await switched(writing, enabled=False)


@asks(router, "/providers/{provider}/test", Question, "Test a provider's keys")
async def try_provider(reading: Reading, _: Question) -> JsonObject:
    """A question that costs nothing, with every key. `ok` is null where only a paid picture could tell."""
    services = reading.services
    provider = providers.get_provider(services.catalogue, reading.path["provider"])
    settled = (services.catalogue, services.settings, services.keyring)
    access = (await load_access(reading.connection, *settled)).get(provider.name)
    return await provider_trial.try_keys(services.outbound, provider, access)


@writes(router, "/providers/{provider}/try-now", "providers:write", Trying, "Let a provider be tried now")
async def try_now(writing: Writing, body: Trying) -> JsonObject:
    """What rests after failures is asked by the next request, in the process that answers. `tried`: what rested."""
    services, name = writing.services, writing.path["provider"]
    tried = await providers.try_now(
        writing.tx, services.catalogue, services.health, name, body.offering, writing.actor
    )
    return {**await providers.show_provider(writing.tx, place_of(services), name), "tried": tried}


async def switched(writing: Writing, *, enabled: bool) -> JsonObject:
    name = writing.path["provider"]
    await providers.set_enabled(writing.tx, writing.services.catalogue, name, enabled, writing.actor)
    return await providers.show_provider(writing.tx, place_of(writing.services), name)


async def shown(reading: Reading, name: str) -> JsonObject:
    return await providers.show_provider(reading.connection, place_of(reading.services), name)


def place_of(services: Services) -> Place:
    return Place(
        services.catalogue,
        services.settings,
        services.keyring,
        services.credentials,
        services.health.snapshot(),
    )
