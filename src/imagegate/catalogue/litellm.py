"""LiteLLM's public price list: what its entries of image models say, in our words.

Format: model_prices_and_context_window.json of github.com/BerriAI/litellm, read 2026-11-21. One object; an entry's key
is a model's name, with its provider, a quality, a size and a number of steps before it where the price goes by them:
`hd/1024-x-1024/dall-e-3`, `1024-x-1024/50-steps/bedrock/amazon.nova-canvas-v1:0`, `azure/low/1024-x-1024/gpt-image-1`.
Prices are USD: for an image drawn (`output_cost_per_image`) or for a pixel. What is not certain is skipped and said.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.pricing import tokens_from_usd, with_price
from imagegate.catalogue.terms import MAX_TOKENS, Terms
from imagegate.domain import Size
from imagegate.errors import OperatorError
from imagegate.settings import Settings

SELLERS = {
    "azure": "azure_openai",
    "azure_ai": "azure_foundry",
    "bedrock": "bedrock",
    "black_forest_labs": "bfl",
    "fal_ai": "fal",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "openai": "openai",
    "openrouter": "openrouter",
    "recraft": "recraft",
    "replicate": "replicate",
    "stability": "stability",
    "together_ai": "together",
    "vertex_ai-image-models": "google",
    "vertex_ai-language-models": "google",
    "xai": "xai",
}
"""LiteLLM's name of a provider → the catalogue's."""

QUALITIES = ("auto", "low", "medium", "high", "standard", "hd", "xhigh", "max")
SIZE = re.compile(r"([1-9]\d{0,4})-x-([1-9]\d{0,4})")
STEPS = re.compile(r"\d{1,4}-steps|max-steps")
PIXEL_KEYS = ("input_cost_per_pixel", "output_cost_per_pixel")
DEAREST_USD = 1000


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry that was left alone. reason: begins in small letters and goes on after its name."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What an entry says: USD for one image of a model, at one provider."""

    name: str
    model: str
    provider: str
    size: Size | None
    quality: str | None
    usd: Fraction


@dataclass(frozen=True, slots=True)
class Reading:
    """terms: the new price of each model that the list speaks of. others: entries that are no image models."""

    terms: Mapping[str, Terms]
    skipped: tuple[Skipped, ...]
    others: int


def read_list(
    name: str,
    text: str,
    catalogue: Catalogue,
    settings: Settings,
    current: Mapping[str, Terms | None],
    words: Mapping[str, str],
) -> Reading:
    """LiteLLM's list over the prices in force. name: the file's. words: other words for qualities.

    Of several entries for one picture the creator's own counts, else the dearest. Raises OperatorError when the text
    is not such a list.
    """
    offers: list[Offer] = []
    skipped: list[Skipped] = []
    others = 0
    for key, entry in parse(name, text).items():
        if not isinstance(entry, dict) or key == "sample_spec" or not is_about_images(entry):
            others += 1
            continue
        try:
            offers.append(read_entry(key, entry, catalogue, words))
        except ValueError as error:
            skipped.append(Skipped(key, str(error)))
    chosen = choose(offers, catalogue, skipped)
    terms = overlay(chosen, settings, current, skipped)
    return Reading(terms, tuple(skipped), others)


def parse(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise OperatorError(f"{name} is not JSON, so it is no price list of LiteLLM.") from None
    if not isinstance(value, dict) or not any(isinstance(e, dict) and "mode" in e for e in value.values()):
        raise OperatorError(
            f"{name} is no price list of LiteLLM: it must be an object of models, as "
            "model_prices_and_context_window.json is."
        )
    return value


def is_about_images(entry: Mapping[str, Any]) -> bool:
    return entry.get("mode") in ("image_generation", "image_edit") or "output_cost_per_image" in entry


def read_entry(key: str, entry: Mapping[str, Any], catalogue: Catalogue, words: Mapping[str, str]) -> Offer:
    """Raises ValueError saying why an entry cannot be taken."""
    if entry.get("mode") == "image_edit":
        raise ValueError("is a price of edits")
    vendor = str(entry.get("litellm_provider", ""))[:60]
    provider = SELLERS.get(vendor)
    if provider is None:
        raise ValueError(f"its provider {vendor!r} is none of the catalogue's")
    parts = [part for part in key.split("/") if part not in (vendor, vendor.partition("-")[0])]
    sizes = [part for part in parts if SIZE.fullmatch(part)]
    qualities = [part for part in parts[:-1] if part in QUALITIES]
    rest = [p for p in parts if p not in sizes and p not in qualities and not STEPS.fullmatch(p)]
    if len(sizes) > 1 or len(qualities) > 1:
        raise ValueError("names two sizes or two qualities")
    found = catalogue.names.exact.get(f"{provider}:{'/'.join(rest)}")
    if found is None:
        raise ValueError(f"nothing in the catalogue is called {'/'.join(rest)[:80]!r} at {provider}")
    model = catalogue.models[found[0]]
    quality = words.get(qualities[0], qualities[0]) if qualities else None
    if quality is not None and quality not in model.qualities:
        raise ValueError(f"{model.id} has no quality {qualities[0]!r}")
    size = Size.parse(sizes[0].replace("-", "")) if sizes else None
    return Offer(key, model.id, provider, size, quality, read_usd(entry, size))


def read_usd(entry: Mapping[str, Any], size: Size | None) -> Fraction:
    """One image in USD, exactly. Raises ValueError when the entry does not say it for certain."""
    if "output_cost_per_image" in entry:
        usd = number(entry, "output_cost_per_image")
    elif any(key in entry for key in PIXEL_KEYS):
        if size is None:
            raise ValueError("has a price by the pixel and no size in its name")
        usd = sum((number(entry, key) for key in PIXEL_KEYS if key in entry), Fraction(0)) * size.area_px
    elif "input_cost_per_image" in entry:
        raise ValueError("has input_cost_per_image alone, which may mean input images")
    elif "output_cost_per_image_token" in entry or "output_cost_per_token" in entry:
        raise ValueError("is priced by usage: imagegate prices set-usage")
    else:
        raise ValueError("has no price that is known here")
    if not 0 < usd <= DEAREST_USD:
        raise ValueError(f"its price is not above 0 and at most {DEAREST_USD} USD")
    return usd


def number(entry: Mapping[str, Any], key: str) -> Fraction:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"{key} is no number")
    exact = Decimal(value)
    # Checked before it becomes a fraction: 1e999999999 would be a number of a billion digits.
    if not exact.is_finite() or exact.adjusted() > 6 or (exact and exact.adjusted() < -30) or exact < 0:
        raise ValueError(f"{key} is out of range")
    return Fraction(exact)


def choose(offers: Iterable[Offer], catalogue: Catalogue, skipped: list[Skipped]) -> list[Offer]:
    """One offer for each model, size and quality."""
    best: dict[tuple[str, Size | None, str | None], Offer] = {}

    def rank(offer: Offer) -> tuple[bool, Fraction]:
        return offer.provider == catalogue.entries[offer.model].list_provider, offer.usd

    for offer in offers:
        cell = offer.model, offer.size, offer.quality
        rival = best.setdefault(cell, offer)
        if rival is offer:
            continue
        winner, loser = (offer, rival) if rank(offer) > rank(rival) else (rival, offer)
        best[cell] = winner
        if winner.usd != loser.usd:
            skipped.append(Skipped(loser.name, f"{winner.name} is taken for the same picture"))
    return list(best.values())


def overlay(
    offers: Iterable[Offer],
    settings: Settings,
    current: Mapping[str, Terms | None],
    skipped: list[Skipped],
) -> dict[str, Terms]:
    """Offers over the prices in force; a number that would hide finer prices in force is left out."""
    found: dict[str, Terms] = {}
    in_order = sorted(offers, key=lambda o: (o.size is not None, o.quality is not None))
    fine = {offer.model for offer in in_order if offer.size or offer.quality}
    for offer in in_order:
        terms = found.get(offer.model) or current.get(offer.model)
        tokens = tokens_from_usd(offer.usd, settings)
        if reason := why_not(offer, tokens, terms, fine):
            skipped.append(Skipped(offer.name, reason))
        else:
            found[offer.model] = with_price(terms, offer.size, offer.quality, tokens)
    return {model: terms for model, terms in found.items() if terms != current.get(model)}


def why_not(offer: Offer, tokens: int, terms: Terms | None, fine: set[str]) -> str | None:
    if tokens > MAX_TOKENS:
        return f"its price is above {MAX_TOKENS} tokens"
    if terms is not None and terms.per_token:
        return "the price in force goes by usage"
    anywhere = offer.size is None and offer.quality is None
    if anywhere and offer.model in fine:
        return "has one price for every picture, and the list has finer ones for this model"
    if terms is None:
        return None
    if anywhere and terms.per_megapixel:
        return "has one price for every picture, and the price in force goes by the megapixel"
    finer = any(
        (size, quality) != (offer.size, offer.quality)
        and offer.size in (None, size)
        and offer.quality in (None, quality)
        for size, quality in terms.cells
    )
    return "is coarser than the price in force, which goes by size or quality" if finer else None
