"""Providers: who can be asked, with which of our keys, how they did; switched on and off, weighed and tried."""

from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import SecretStr
from starlette.routing import Route

from imagegate.admin import provider_hours, provider_trial, providers
from imagegate.admin.console import weights
from imagegate.admin.console.attention import place_of
from imagegate.admin.console.door import After, Doing, Gone, Shown, Visit, changes, looks, said
from imagegate.admin.console.subtables import beside
from imagegate.admin.console.tables import Table
from imagegate.admin.provider_hours import HOURS, Did, Hours
from imagegate.catalogue.rule_rows import under_rules
from imagegate.errors import InvalidRequest
from imagegate.registry import load_access

COLUMNS = ("name", "configured", "enabled", "available", "missing", "base_url", "keys", "models", "health")
DID = ("provider", "at", "attempts", "success", "p50_s", "p95_s", "classes")
FINE, POOR = 0.95, 0.5
"""The share of attempts that delivered from which an hour is good, and below which it is bad."""


async def look(visit: Visit) -> Shown:
    """Configured ones first, with their last 24 hours."""
    rows = await providers.list_providers(visit.connection, place_of(visit))
    rows.sort(key=lambda row: not row["configured"])
    hours = await provider_hours.read_hours(visit.connection)
    strips = {row["name"]: [mark_of(did) for did in hours.of(row["name"])] for row in rows}
    did = {name: whole.to_json() for name, whole in hours.whole.items()}
    context = {"strips": strips, "did": did, "hours": table_of(hours, None), "sampled": hours.sampled}
    return Shown("providers.html", context, Table("providers", COLUMNS, rows, "/admin/v1/providers"))


async def look_at_one(visit: Visit) -> Shown:
    return await shown(visit, None)


async def shown(visit: Visit, trial: object) -> Shown:
    """trial: what a test of its keys just said."""
    services, connection, name = visit.services, visit.connection, visit.path["provider"]
    one = await providers.show_provider(connection, place_of(visit), name)
    hours = await provider_hours.read_hours(connection, name)
    did = hours.of(name)
    whole = hours.whole.get(name) or Did(name, None)
    context = {
        "one": one,
        "trial": trial,
        "whole": whole.to_json() | {"failures": whole.failures},
        "hours": table_of(hours, name),
        "sampled": hours.sampled,
        "ended": chart_of_classes(did),
        "waits": chart_of_waits(did),
        "faults": await provider_hours.read_faults(connection, name, hours),
        "weights": await read_weights(visit),
        "policy": services.settings.routing_policy,
    }
    return Shown(
        "provider.html", context, Table(f"provider-{name}", COLUMNS, [one], f"/admin/v1/providers/{name}")
    )


def mark_of(did: Did) -> dict[str, Any]:
    success = did.success
    tone = "" if success is None else "good" if success >= FINE else "bad" if success < POOR else "warn"
    return {**did.to_json(), "tone": tone, "failures": did.failures}


def chart_of_classes(did: list[Did]) -> dict[str, Any]:
    """What the page's script stacks: attempts by how they ended, what was delivered first."""
    totals: dict[str, int] = {}
    for hour in did:
        for name, n in hour.classes.items():
            totals[name] = totals.get(name, 0) + n
    names = sorted(totals, key=lambda name: (name != provider_hours.GOOD, -totals[name]))
    series = [{"name": name, "values": [hour.classes.get(name, 0) for hour in did]} for name in names]
    return {"x": seconds_of(did), "series": series}


def chart_of_waits(did: list[Did]) -> dict[str, Any]:
    """p50 and p95 of the attempts that delivered."""
    lines = (("p50", [hour.p50_s for hour in did]), ("p95", [hour.p95_s for hour in did]))
    series = [{"name": name, "values": values} for name, values in lines]
    return {"x": seconds_of(did), "series": series if any(lines[0][1]) else [], "unit": " s"}


def seconds_of(did: list[Did]) -> list[int]:
    return [int(hour.at.timestamp()) for hour in did if hour.at is not None]


def table_of(hours: Hours, provider: str | None) -> Table:
    named = f"&provider={provider}" if provider else ""
    api = f"/admin/v1/providers/hours?hours={HOURS}{named}"
    return Table("provider-hours", DID, [row.to_json() for row in hours.rows], api)


async def read_all_hours(visit: Visit) -> Table:
    return table_of(await provider_hours.read_hours(visit.connection), None)


async def read_its_hours(visit: Visit) -> Table:
    name = providers.get_provider(visit.services.catalogue, visit.path["provider"]).name
    return table_of(await provider_hours.read_hours(visit.connection, name), name)


async def read_weights(visit: Visit) -> Table:
    """The offerings of one provider."""
    services, name = visit.services, visit.path["provider"]
    catalogue = await under_rules(visit.connection, services.catalogue)
    book = await weights.load_book(visit.connection)
    models = [model for model in catalogue.models.values() if not catalogue.entries[model.id].retired]
    rows = weights.weigh(models, book, services.credentials, name)
    return Table("weights", weights.COLUMNS, rows, "/admin/v1/models/preferences")


async def enable(doing: Doing) -> Gone:
    return await switched(doing, enabled=True)


async def disable(doing: Doing) -> Gone:
    return await switched(doing, enabled=False)


async def switched(doing: Doing, *, enabled: bool) -> Gone:
    name = doing.visit.path["provider"]
    await providers.set_enabled(doing.tx, doing.visit.services.catalogue, name, enabled, doing.actor)
    return Gone(f"/console/providers/{name}")


async def try_now(doing: Doing) -> Gone:
    """What rests in this process is asked by the next request."""
    services, name = doing.visit.services, doing.visit.path["provider"]
    offering = said(doing.form, "offering")
    await providers.try_now(doing.tx, services.catalogue, services.health, name, offering, doing.actor)
    return Gone(f"/console/providers/{name}")


async def prefer(doing: Doing) -> Gone:
    """Raises what `weights.prefer` raises."""
    name = doing.visit.path["provider"]
    model = said(doing.form, "model")
    if model is None:
        raise InvalidRequest("Say of which model.", param="model")
    await weights.prefer(doing, model, name)
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
    here = replace(visit, frame=replace(visit.frame, path=f"/console/providers/{provider.name}"))
    return await shown(here, await provider_trial.try_keys(services.outbound, provider, access))


ONE = "/console/providers/{provider}"
ROUTES: list[Route] = [
    *looks("/console/providers", look, table=True),
    *beside("/console/providers/hours", read_all_hours),
    *looks(ONE, look_at_one, table=True),
    *beside(f"{ONE}/hours", read_its_hours),
    *beside(f"{ONE}/weights", read_weights),
    *changes(f"{ONE}/enable", "providers:write", enable),
    *changes(f"{ONE}/disable", "providers:write", disable),
    *changes(f"{ONE}/try-now", "providers:write", try_now),
    *changes(f"{ONE}/prefer", "models:write", prefer),
    *changes(f"{ONE}/keys", "providers:write", add_key),
    *changes(f"{ONE}/keys/revoke", "providers:write", revoke_key),
    *changes(f"{ONE}/test", "providers:write", try_keys),
]
