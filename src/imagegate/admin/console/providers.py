"""Providers: who can be asked, with which of our keys, how they do; switched on and off, and tried."""

from functools import partial

from pydantic import SecretStr
from starlette.routing import Route

from imagegate.admin import provider_trial, providers
from imagegate.admin.console.attention import place_of
from imagegate.admin.console.door import After, Doing, Gone, Shown, Visit, changes, looks, said
from imagegate.admin.console.tables import Table
from imagegate.errors import InvalidRequest
from imagegate.registry import load_access

COLUMNS = ("name", "configured", "enabled", "available", "missing", "base_url", "keys", "models", "health")


async def look(visit: Visit) -> Shown:
    """Configured ones first."""
    rows = await providers.list_providers(visit.connection, place_of(visit))
    rows.sort(key=lambda row: not row["configured"])
    return Shown("providers.html", {}, Table("providers", COLUMNS, rows, "/admin/v1/providers"))


async def look_at_one(visit: Visit) -> Shown:
    return await shown(visit, None)


async def shown(visit: Visit, trial: object) -> Shown:
    name = visit.path["provider"]
    one = await providers.show_provider(visit.connection, place_of(visit), name)
    table = Table(f"provider-{name}", COLUMNS, [one], f"/admin/v1/providers/{name}")
    return Shown("provider.html", {"one": one, "trial": trial}, table)


async def enable(doing: Doing) -> Gone:
    return await switched(doing, enabled=True)


async def disable(doing: Doing) -> Gone:
    return await switched(doing, enabled=False)


async def switched(doing: Doing, *, enabled: bool) -> Gone:
    name = doing.visit.path["provider"]
    await providers.set_enabled(doing.tx, doing.visit.services.catalogue, name, enabled, doing.actor)
    return Gone(f"/console/providers/{name}")


async def add_key(doing: Doing) -> Gone:
    """Raises what `providers.add_key` raises."""
    name, key = said(doing.form, "name"), said(doing.form, "key")
    if name is None or key is None:
        raise InvalidRequest("Give the key, and a name to tell it from others.", param="key")
    provider = doing.visit.path["provider"]
    await providers.add_key(doing.tx, place_of(doing.visit), provider, name, SecretStr(key), doing.actor)
    return Gone(f"/console/providers/{provider}")


async def revoke_key(doing: Doing) -> Gone:
    await providers.revoke_key(doing.tx, doing.form.get("key", ""), doing.actor)
    return Gone(f"/console/providers/{doing.visit.path['provider']}")


async def try_keys(doing: Doing) -> After:
    return After(partial(tried, doing.visit))


async def tried(visit: Visit) -> Shown:
    """A question that costs nothing, with every key."""
    services = visit.services
    provider = providers.get_provider(services.catalogue, visit.path["provider"])
    settled = (services.catalogue, services.settings, services.keyring)
    access = (await load_access(visit.connection, *settled)).get(provider.name)
    return await shown(visit, await provider_trial.try_keys(services.outbound, provider, access))


ONE = "/console/providers/{provider}"
ROUTES: list[Route] = [
    *looks("/console/providers", look, table=True),
    *looks(ONE, look_at_one, table=True),
    *changes(f"{ONE}/enable", "providers:write", enable),
    *changes(f"{ONE}/disable", "providers:write", disable),
    *changes(f"{ONE}/keys", "providers:write", add_key),
    *changes(f"{ONE}/keys/revoke", "providers:write", revoke_key),
    *changes(f"{ONE}/test", "providers:write", try_keys),
]
