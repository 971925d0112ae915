"""All arithmetic of prices: pure, in whole tokens and exact fractions, never in floats.

A price table has cells by size and quality; either may be open. For sizes that no cell names there may be a
rule by the megapixel (1,048,576 px). Where a price goes by usage, what is looked up is the most it can cost.
USD become tokens in one place: when prices are seeded, and when an operator takes a list of USD prices over.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from imagegate.catalogue.entries import Entry
from imagegate.catalogue.terms import MAX_TOKENS, MEGAPIXEL, Cell, PerInput, PerMegapixel, PerToken, Terms
from imagegate.domain import Inputs, Offering, Quote, Size
from imagegate.errors import InvalidRequest, OperatorError, Unpriced
from imagegate.settings import Settings

__all__ = ["MAX_TOKENS", "MEGAPIXEL", "Cell", "PerInput", "PerMegapixel", "PerToken", "Terms"]

NO_INPUTS = Inputs()


def quote(
    terms: Terms,
    *,
    model: str,
    price_version: int,
    size: Size,
    quality: str | None,
    n: int,
    inputs: Inputs = NO_INPUTS,
    previews: int = 0,
) -> Quote:
    """The exact price of one request. previews: of each image; where one has no price there are none.

    Raises Unpriced; InvalidRequest for a size above the largest priced.
    """
    tokens = find_tokens(terms, size, quality, inputs.images)
    if tokens is None:
        raise unfound(terms, model, quality)
    usage = terms.per_token
    if usage and inputs.images and not usage.input_image_bound:
        raise Unpriced(f"{model} has no price for input images, so it cannot take any. Nothing was charged.")
    return Quote(
        model=model,
        price_version=price_version,
        image_tokens=tokens,
        n=n,
        size=size,
        quality=quality,
        unit=terms.unit,
        rates=usage.rates if usage else None,
        inputs=inputs,
        input_tokens=terms.per_input.tokens_for(inputs) if terms.per_input and not usage else 0,
        previews=0 if terms.per_partial is None else previews,
        preview_tokens=(terms.per_partial or 0) if previews else 0,
    )


def unfound(terms: Terms, model: str, quality: str | None) -> Unpriced | InvalidRequest:
    """Why there is no price: for no size at all, or for none as large."""
    listed = [s for s, _ in sized(cells_in(terms), quality)]
    if not listed:
        return Unpriced(f"{model} has no price for this quality, so it cannot be used. Nothing was charged.")
    largest = max(listed, key=lambda s: s.area_px)
    return InvalidRequest(
        f"{model} is priced up to {largest}; ask for a size of at most {largest.area_px} pixels.",
        param="size",
    )


def find_tokens(terms: Terms, size: Size, quality: str | None, input_images: int = 0) -> Fraction | None:
    """One image's price; by usage, the most it can cost. None: it has none."""
    if terms.per_token:
        bound = find_cell(terms.per_token.bounds, None, size, quality)
        return None if bound is None else terms.per_token.worst(int(bound), input_images)
    return find_cell(terms.cells, terms.per_megapixel, size, quality)


def find_cell(
    cells: Mapping[Cell, int], rule: PerMegapixel | None, size: Size, quality: str | None
) -> Fraction | None:
    """The cell that fits best, else the megapixel rule, else the smallest listed size large enough."""
    for cell in ((size, quality), (size, None), (None, quality), (None, None)):
        if cell in cells:
            return Fraction(cells[cell])
    if rule:
        return rule.tokens_for(size)
    # Of two sizes of one area the dearer counts: never below what it may cost.
    covering = [(s.area_px, -tokens) for s, tokens in sized(cells, quality) if s.area_px >= size.area_px]
    return Fraction(-min(covering)[1]) if covering else None


def cells_in(terms: Terms) -> Mapping[Cell, int]:
    return terms.per_token.bounds if terms.per_token else terms.cells


def sized(cells: Mapping[Cell, int], quality: str | None) -> Iterator[tuple[Size, int]]:
    """The sizes listed for a quality; a price for just this quality goes before one for all."""
    for (size, its_quality), tokens in cells.items():
        if size and (its_quality == quality or (its_quality is None and (size, quality) not in cells)):
            yield size, tokens


def with_price(terms: Terms | None, size: Size | None, quality: str | None, tokens: int) -> Terms:
    """A copy with one price set. Neither size nor quality: one price for every picture.

    A price for a size alone replaces that size at every quality, and one for a quality alone that quality at
    every size: the cells that would hide it go. Raises OperatorError when tokens are out of range, and where the
    price goes by usage.
    """
    if isinstance(tokens, bool) or not 0 <= tokens <= MAX_TOKENS:
        raise OperatorError(f"A price is a whole number of tokens from 0 to {MAX_TOKENS}.")
    if terms is None or (size is None and quality is None):
        if terms is None:
            return Terms({(size, quality): tokens})
        return Terms({(size, quality): tokens}, per_input=terms.per_input, per_partial=terms.per_partial)
    if terms.per_token:
        raise OperatorError(
            "This model's price goes by usage. Set one price for every picture first (without size and quality), "
            "or change its rates: imagegate prices set-usage"
        )
    kept = {
        (s, q): price
        for (s, q), price in terms.cells.items()
        if not (size in (None, s) and quality in (None, q))
    }
    return replace(terms, cells={**kept, (size, quality): tokens})


def tokens_from_usd(usd: Decimal | Fraction, settings: Settings) -> int:
    """USD to whole tokens, rounded up: × rate × (1 + markup) × tokens per unit of the currency."""
    return ceil(Fraction(usd) * tokens_per_usd(settings))


def tokens_per_usd(settings: Settings) -> Fraction:
    rate = Fraction(settings.currency_per_usd) if settings.currency_per_usd else Fraction(1)
    return rate * (1 + Fraction(settings.markup_percent) / 100) * settings.tokens_per_currency_unit


def usd_per_token(settings: Settings) -> Fraction:
    """What one token is worth, without the markup."""
    rate = Fraction(settings.currency_per_usd) if settings.currency_per_usd else Fraction(1)
    return 1 / (rate * settings.tokens_per_currency_unit)


def explain_conversion(settings: Settings) -> str:
    """How USD become tokens here, for reading."""
    exact = tokens_per_usd(settings)
    whole = f"{exact.numerator:,}" + ("" if exact.denominator == 1 else f"/{exact.denominator:,}")
    return (
        f"1 USD = {settings.currency_per_usd or 1} {settings.currency}, markup {settings.markup_percent} %, "
        f"{settings.tokens_per_currency_unit:,} tokens per {settings.currency}: {whole} tokens, each price rounded up"
    )


@dataclass(frozen=True, slots=True)
class DefaultPrice:
    """What a model costs until an operator says otherwise. `rate`: tokens per USD, where converted."""

    terms: Terms
    source: str
    source_date: str | None
    rate: Fraction | None


def default_terms(entry: Entry, settings: Settings) -> DefaultPrice | None:
    """Our own price by decision; else the creator's list price; else the dearest offering's. None = unpriced.

    A retired model without a price by decision has none here: it costs what its successor costs.
    """
    if entry.price:
        ours = terms_from(entry.price.get("tokens"), entry.price.get("megapixel_tokens"), int)
        ours = replace(ours, per_partial=entry.price.get("partial_tokens"))
        return DefaultPrice(ours, entry.price["source"], entry.price.get("date"), None)
    offers = [(o, terms) for o in entry.model.offerings if (terms := list_terms(o, settings))]
    if not offers:
        return None
    own = [offer for offer in offers if offer[0].provider == entry.list_provider]
    offering, terms = own[0] if own else max(offers, key=lambda offer: dearness(entry, offer[1]))
    cost = offering.cost or {}
    kind = "estimate from" if cost.get("estimate") else "list price of"
    return DefaultPrice(
        terms, f"{kind} {offering.provider}: {cost['source']}", cost.get("date"), tokens_per_usd(settings)
    )


def list_terms(offering: Offering, settings: Settings) -> Terms | None:
    """An offering's cost as a price; None when it is not known per image."""
    cost = offering.cost or {}
    if "usd" not in cost and "megapixel_usd" not in cost:
        return None
    terms = terms_from(cost.get("usd"), cost.get("megapixel_usd"), lambda usd: tokens_from_usd(usd, settings))
    image, megapixel = (
        tokens_from_usd(cost.get(name, Decimal(0)), settings)
        for name in ("input_image_usd", "input_megapixel_usd")
    )
    partial = cost.get("partial_usd")
    return replace(
        terms,
        per_input=PerInput(image, megapixel) if image or megapixel else None,
        per_partial=None if partial is None else tokens_from_usd(partial, settings),
    )


def dearness(entry: Entry, terms: Terms) -> tuple[Fraction, Fraction]:
    """For comparing: the price at the usual size, then at four times its area."""
    usual, quality = entry.model.default_size, entry.model.default_quality
    double = Size(usual.width_px * 2, usual.height_px * 2)
    first, second = (find_tokens(terms, size, quality) or Fraction(0) for size in (usual, double))
    return first, second


def terms_from(grid: Any, megapixel: Mapping[str, Any] | None, tokens: Callable[[Any], int]) -> Terms:
    """The catalogue's way of writing prices, as terms. grid: one number, or by size, by quality, or both."""
    rule = None
    if megapixel:
        rule = PerMegapixel(
            first_tokens=tokens(megapixel["first"]),
            extra_tokens=tokens(megapixel["extra"]),
            round_up_mp=megapixel["round_up"],
            minimum_tokens=tokens(megapixel.get("minimum", 0)),
        )
    cells = {cell: tokens(number) for cell, number in cells_of(grid)}
    return Terms(cells, rule, "megapixel" if rule else "image")


def cells_of(grid: Any) -> Iterator[tuple[Cell, Any]]:
    if not isinstance(grid, Mapping):
        if grid is not None:
            yield (None, None), grid
        return
    for key, inner in grid.items():
        size = Size.parse(key)
        if isinstance(inner, Mapping):
            yield from (((size, quality), number) for quality, number in inner.items())
        else:
            yield (size, None if size else key), inner
