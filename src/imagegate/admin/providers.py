"""What an operator does to providers: add and revoke our keys there, enable and disable; and how a provider is shown.

Each change takes a transaction and records itself. Again is no error: then nothing is changed and nothing recorded. No
key is ever shown again, written to a log or kept in the audit log; its last four characters are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.catalogue import provider_rules
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.entries import Provider
from imagegate.catalogue.provider_rules import ProviderRule
from imagegate.errors import InvalidRequest, NotFound
from imagegate.identity import provider_keys
from imagegate.identity.audit import Actor, record, said
from imagegate.identity.credentials import CredentialBook
from imagegate.identity.provider_keys import StoredKey, hint_of
from imagegate.identity.secret import Keyring
from imagegate.ids import parse_public_id
from imagegate.registry import access_to, env_id
from imagegate.routing.health import Health, OfferingHealth
from imagegate.settings import Settings

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """What a provider is looked at with. book: how its keys have fared here. health: of offerings that were asked."""

    catalogue: Catalogue
    settings: Settings
    keyring: Keyring
    book: CredentialBook
    health: Sequence[OfferingHealth] = ()


def get_provider(catalogue: Catalogue, name: str) -> Provider:
    """Raises NotFound naming those that there are."""
    provider = catalogue.providers.get(name)
    if provider is None:
        close = get_close_matches(name[:200], catalogue.providers, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        raise NotFound(
            f"There is no provider of this name.{meant} There are: {', '.join(catalogue.providers)}."
        )
    return provider


async def add_key(
    tx: AsyncConnection, place: Place, provider: str, name: str, plain: SecretStr, actor: Actor
) -> StoredKey:
    """One more key at a provider, sealed. Raises NotFound, InvalidRequest, Conflict."""
    get_provider(place.catalogue, provider)
    await provider_rules.changing(tx)
    key = plain.get_secret_value().strip()
    made = await provider_keys.add(tx, place.keyring.sealing, provider, name, key, actor.name)
    await record(tx, actor, "providers.add_key", made.public_id, detail=described(made))
    return made


async def revoke_key(tx: AsyncConnection, text: str, actor: Actor) -> StoredKey:
    """For good: the sealed key is deleted. Revoking again is no error. Raises NotFound, InvalidRequest.

    text: `pvk_…`.
    """
    if text.startswith("env:"):
        raise InvalidRequest(
            "This key stands in the environment: take it out of the provider's IMAGEGATE_…_API_KEY and restart.",
            param="key",
        )
    await provider_rules.changing(tx)
    before = await provider_keys.get(tx, parse_public_id(provider_keys.KIND, text))
    if before.revoked_at is not None:
        return before
    after = await provider_keys.revoke(tx, before.id)
    await record(tx, actor, "providers.revoke_key", after.public_id, detail=described(after))
    return after


async def set_enabled(
    tx: AsyncConnection, catalogue: Catalogue, name: str, enabled: bool, actor: Actor
) -> None:
    """Let a provider be asked, or nobody ask it. What it has accepted is finished and paid. Raises NotFound."""
    get_provider(catalogue, name)
    await provider_rules.changing(tx)
    rule = (await provider_rules.load(tx)).get(name)
    before = rule is None or rule.enabled
    if before == enabled:
        return
    await provider_rules.write(tx, name, enabled, said(actor.reason), actor.name)
    action = "providers.enable" if enabled else "providers.disable"
    await record(
        tx, actor, action, name, detail={"before": {"enabled": before}, "after": {"enabled": enabled}}
    )


async def try_now(
    tx: AsyncConnection, catalogue: Catalogue, health: Health, name: str, offering: str | None, actor: Actor
) -> list[str]:
    """End the rest of one offering, or of all, in this process; other processes have breakers of their own.

    Gives those that rested; where none did nothing is recorded. Raises NotFound.
    """
    get_provider(catalogue, name)
    rested = [
        seen.offering
        for seen in health.snapshot()
        if seen.provider == name and seen.state != "closed" and offering in (None, seen.offering)
    ]
    if rested:
        await record(tx, actor, "providers.try_now", name, detail={"offerings": rested})
        health.try_now(name, offering)  # should the commit fail, a call is tried that nobody asked for
    return rested


async def list_providers(connection: AsyncConnection, place: Place) -> list[Json]:
    """All of the catalogue, as `provider_json`, with the keys that are in use."""
    rules = await provider_rules.load(connection)
    stored = await provider_keys.load(connection, place.keyring.sealing)
    return [provider_json(place, name, rules.get(name), stored) for name in place.catalogue.providers]


async def show_provider(connection: AsyncConnection, place: Place, name: str) -> Json:
    """One of them, its revoked keys too. Raises NotFound."""
    get_provider(place.catalogue, name)
    rules = await provider_rules.load(connection)
    stored = await provider_keys.list_keys(connection, place.keyring.sealing, name)
    return provider_json(place, name, rules.get(name), stored)


def provider_json(place: Place, name: str, rule: ProviderRule | None, stored: Sequence[StoredKey]) -> Json:
    """`configured`: it has what it needs to be asked. `available`: so, and enabled. `missing`: what it needs."""
    provider, ours = place.catalogue.providers[name], place.settings.provider(name)
    base_url = ours.base_url or provider.base_url
    kept = [key for key in stored if key.provider == name]
    usable = [key for key in kept if key.revoked_at is None]
    configured = name in access_to(place.catalogue, place.settings, usable)
    enabled = rule is None or rule.enabled
    keys = [*env_keys(place, name), *(key_json(key, place.book) for key in kept)]
    variable = f"IMAGEGATE_{name.upper()}"
    missing = [f"{variable}_BASE_URL"] if provider.needs_url and base_url is None else []
    if provider.needs_key and not ours.api_keys and not any(key.secret for key in usable):
        missing.append(f"{variable}_API_KEY")
    return {
        "name": name,
        "configured": configured,
        "enabled": enabled,
        "available": configured and enabled,
        "missing": missing,
        "base_url": base_url,
        "rule": rule_json(rule) if rule else None,
        "keys": keys,
        "models": models_of(place.catalogue, name),
        "health": [health_json(seen) for seen in place.health if seen.provider == name],
    }


def env_keys(place: Place, name: str) -> Iterable[Json]:
    for number, secret in enumerate(place.settings.provider(name).api_keys, 1):
        state, for_s = place.book.state_of(name, env_id(number)) or ("ready", 0.0)
        yield {
            "id": env_id(number),
            "name": f"IMAGEGATE_{name.upper()}_API_KEY",
            "hint": hint_of(secret.get_secret_value()),
            "state": state,
            "until": until(for_s),
            "why": None,
        }


def key_json(key: StoredKey, book: CredentialBook | None = None) -> Json:
    """state: `ready`, `resting` (limited), `refused`, `unusable` (`why` says it) or `revoked`. until: of the state."""
    state, for_s = "ready", 0.0
    if key.revoked_at is not None:
        state = "revoked"
    elif key.fault is not None:
        state = "unusable"
    elif book is not None:
        state, for_s = book.state_of(key.provider, key.public_id) or (state, for_s)
    return {
        "id": key.public_id,
        "name": key.name,
        "hint": key.hint,
        "state": state,
        "until": until(for_s),
        "why": key.fault,
        "provider": key.provider,
        "created_by": key.created_by,
        "created_at": timestamp(key.created_at),
        "revoked_at": timestamp(key.revoked_at),
    }


def until(for_s: float) -> str | None:
    return timestamp(datetime.now(UTC) + timedelta(seconds=for_s)) if for_s > 0 else None


def rule_json(rule: ProviderRule) -> Json:
    return {"enabled": rule.enabled, "reason": rule.reason, "actor": rule.actor, "at": timestamp(rule.at)}


def health_json(seen: OfferingHealth) -> Json:
    """state: `closed` (asked as usual), `open` (it rests, `until`) or `half_open`. p50_s: its usual time."""
    return {
        "offering": seen.offering,
        "state": seen.state,
        "until": timestamp(seen.until) if seen.until else None,
        "p50_s": None if seen.p50_s is None else round(seen.p50_s, 3),
        "calls": seen.calls,
        "failures": seen.failures,
    }


def models_of(catalogue: Catalogue, name: str) -> list[str]:
    """The ids of the models that it sells, retired ones left out."""
    return [
        id_
        for id_, entry in catalogue.entries.items()
        if any(offering.provider == name for offering in entry.model.offerings)
    ]


def described(key: StoredKey) -> Json:
    """What the audit log keeps of a key."""
    return {"provider": key.provider, "name": key.name, "hint": key.hint}
