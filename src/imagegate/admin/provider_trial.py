"""Whether our keys at a provider are good: by a question that costs nothing, or by the cheapest picture it sells."""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from time import monotonic
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.entries import Provider
from imagegate.catalogue.upstream_cost import image_cost_usd
from imagegate.domain import Adapter, Candidate, GenerationRequest, Model, Offering, Size
from imagegate.errors import ImagegateError, InvalidRequest
from imagegate.generation.attempting import call_for
from imagegate.generation.fitting import fit
from imagegate.identity.audit import Actor, record
from imagegate.identity.credentials import NO_KEY, Access, ProviderKey
from imagegate.outbound import Outbound

LONGEST_TEST_S = 10.0
LONGEST_DRAW_S = 180.0
MOST_ANSWER_BYTES = 8 * 1024 * 1024
PROMPT = "a small red circle on a white background"

Json = dict[str, Any]
Choice = tuple[Model, Offering, Size, str | None]


async def try_keys(outbound: Outbound, provider: Provider, access: Access | None) -> Json:
    """Ask with every key. `ok`: true when each was accepted, false when one was not, null when nothing can be said.

    Nothing is drawn and nothing costs. Never raises for what the provider answers.
    """
    if access is None:
        lack = "It is not configured: it lacks a key or a base URL."
        return untested(provider, f"{lack} Add a key: imagegate providers add {provider.name}", ok=False)
    if provider.test_path is None or not access.credential.base_url:
        return untested(
            provider,
            "It has no question that costs nothing, so only a paid picture can tell whether a key is good.",
        )
    keys: Sequence[ProviderKey] = access.keys or (NO_KEY,)
    url = access.credential.base_url.partition("#")[0].rstrip("/") + provider.test_path
    found = await asyncio.gather(*(ask(outbound, provider, url, key) for key in keys))
    return {
        "provider": provider.name,
        "ok": all(result["ok"] for result in found),
        "asked": f"GET {url}",
        "detail": None,
        "keys": found,
    }


def untested(provider: Provider, why: str, *, ok: bool | None = None) -> Json:
    return {"provider": provider.name, "ok": ok, "asked": None, "detail": why, "keys": []}


async def ask(outbound: Outbound, provider: Provider, url: str, key: ProviderKey) -> Json:
    since, status = monotonic(), None
    try:
        answer = await outbound.get(
            url,
            headers=headers_for(provider, key),
            provider=provider.name,
            timeout_s=LONGEST_TEST_S,
            max_bytes=MOST_ANSWER_BYTES,
        )
        status = answer.status
        detail = proved(status, key)
    except ImagegateError as error:
        detail = error.message
    return {
        "id": key.id,
        "hint": key.hint,
        "ok": status is not None and 200 <= status < 300,
        "status": status,
        "detail": detail,
        "ms": round((monotonic() - since) * 1000),
    }


def headers_for(provider: Provider, key: ProviderKey) -> dict[str, str]:
    if key.secret is None:
        return {}
    plain = key.secret.get_secret_value()
    return {provider.test_header: plain} if provider.test_header else {"Authorization": f"Bearer {plain}"}


def proved(status: int, key: ProviderKey) -> str:
    if 200 <= status < 300:
        return "The host answers and accepts the key." if key.secret else "The host answers without a key."
    if status in (400, 401, 403):
        return f"The host answers and refuses the key ({status})."
    if status == 429:
        return "The host answers that the key is limited for now (429)."
    return f"The host answers {status}, which says nothing about the key."


def cheapest(catalogue: Catalogue, provider: str) -> Choice:
    """Model, offering, size and quality of the cheapest small picture; one of known cost before one of unknown cost.

    Raises InvalidRequest for a provider that sells no model that draws from a prompt alone.
    """
    found: list[tuple[bool, Decimal, int, Choice]] = []
    for entry in catalogue.entries.values():
        for offering in entry.model.offerings:
            if offering.provider == provider and "generate" in entry.model.operations:
                found += priced(entry.model, offering)
    if not found:
        text = f"{provider} sells no model here that draws from a prompt alone."
        raise InvalidRequest(text, param="provider")
    return min(found, key=lambda one: one[:3])[3]


def priced(model: Model, offering: Offering) -> list[tuple[bool, Decimal, int, Choice]]:
    sizes = offering.sizes.sizes or model.sizes or (model.default_size,)
    smallest = min(sizes, key=lambda size: size.area_px)
    default = model.default_quality if model.default_quality in offering.qualities else None
    found = []
    for quality in offering.qualities or (default,):
        cost = image_cost_usd(offering, smallest, quality)
        choice = (model, offering, smallest, quality)
        found.append((cost is None, cost or Decimal(0), smallest.area_px, choice))
    return found


def describe(choice: Choice) -> str:
    """What is drawn, and what the catalogue thinks that it costs."""
    model, offering, size, quality = choice
    cost = image_cost_usd(offering, size, quality)
    costs = "its cost is not known before" if cost is None else f"about USD {cost.normalize():f}"
    return f"{model.id} {size}{f' {quality}' if quality else ''}, {costs}"


async def record_drawing(tx: AsyncConnection, result: Json, actor: Actor) -> None:
    """A picture that the provider bills, and that no ledger shows, stands in the audit log."""
    kept = {name: result[name] for name in ("ok", "model", "size", "quality", "cost_usd", "key")}
    await record(tx, actor, "providers.test_draw", result["provider"], detail=kept)


async def draw(adapters: Mapping[str, Adapter], access: Access, choice: Choice) -> Json:
    """Draw the picture once, outside the ledger: no wallet pays, the provider bills us.

    cost_usd: its own word, else the catalogue's estimate; null when neither is known. Never raises for what the
    provider answers.
    """
    model, offering, size, quality = choice
    estimate = image_cost_usd(offering, size, quality)
    key = access.keys[0] if access.keys else NO_KEY
    request = GenerationRequest(PROMPT, model=model.id, size=size, quality=quality)
    candidate = Candidate(offering, access.credential, fit(request, model, offering, size, quality))
    call = call_for(candidate, key, PROMPT, 1, LONGEST_DRAW_S, LONGEST_DRAW_S)
    since, ok, detail, cost = monotonic(), False, "", None
    try:
        result = await adapters[offering.provider].generate(call)
        ok, cost = bool(result.images), result.cost_usd if result.cost_usd is not None else estimate
        detail = "The key drew a picture." if ok else "The provider answered without a picture."
    except ImagegateError as error:
        detail = error.message
    return {
        "provider": offering.provider,
        "ok": ok,
        "model": model.id,
        "size": str(size),
        "quality": quality,
        "key": {"id": key.id, "hint": key.hint},
        "detail": detail,
        "cost_usd": None if cost is None else str(cost),
        "ms": round((monotonic() - since) * 1000),
    }
