"""What is wrong with the prices in force: missing, zero, below cost, or by a usage that nobody reports."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from imagegate.admin.price_rules import enabled_offerings, place_name, places, usage_faults, zeros
from imagegate.admin.price_tools import Prices
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import PriceBook, decimal_from
from imagegate.catalogue.pricing import find_tokens, terms_from, usd_per_token
from imagegate.catalogue.terms import Terms
from imagegate.domain import Model, Offering, Size
from imagegate.errors import Unpriced
from imagegate.settings import Settings

PICO = 10**12
USAGE_COSTS = {"text_in": "text_in", "image_in": "image_in", "output": "image_out"}
"""A rate of a price by usage → the cost it must cover."""


@dataclass(frozen=True, slots=True)
class Finding:
    """kind: `unpriced`, `zero`, `below_cost` or `usage`. USD are exact; None where they do not apply."""

    kind: str
    model: str
    detail: str
    provider: str | None = None
    price_usd: Fraction | None = None
    cost_usd: Fraction | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "model": self.model,
            "detail": self.detail,
            "provider": self.provider,
            "price_usd": usd_text(self.price_usd),
            "cost_usd": usd_text(self.cost_usd),
        }


def usd_text(usd: Fraction | None) -> str | None:
    """To a millionth of a USD."""
    exact = decimal_from(usd)
    return None if exact is None else f"{exact.quantize(Decimal('0.000001')):f}"


def check(
    catalogue: Catalogue,
    settings: Settings,
    reachable: Collection[str],
    current: Prices,
    *,
    everything: bool = False,
) -> list[Finding]:
    """Look at every model that can be bought here. everything: also at those whose providers are not configured."""
    found: list[Finding] = []
    book = PriceBook(current)
    for model in catalogue.listed():
        offerings = enabled_offerings(catalogue, reachable, model.id)
        if everything and not offerings:
            offerings = model.offerings
        elif not offerings:
            continue
        try:
            terms = book.find(model, catalogue).terms
        except Unpriced:
            terms = None
        found += look_at(model, terms, offerings, settings)
    return found


def look_at(
    model: Model, terms: Terms | None, offerings: Sequence[Offering], settings: Settings
) -> Iterator[Finding]:
    if terms is None:
        yield Finding("unpriced", model.id, model.id)
        return
    for size, quality in places(model):
        if find_tokens(terms, size, quality) is None:
            yield Finding("unpriced", model.id, place_name(model.id, size, quality))
    yield from (Finding("zero", model.id, zero) for zero in zeros(model.id, terms))
    if terms.per_token:
        yield from (Finding("usage", model.id, fault) for fault in usage_faults(model, offerings, terms))
        yield from usage_below_cost(model, terms, offerings, settings)
    else:
        yield from below_cost(model, terms, offerings, settings)


def below_cost(
    model: Model, terms: Terms, offerings: Sequence[Offering], settings: Settings
) -> Iterator[Finding]:
    """Each size and quality that costs less than the dearest offering."""
    known = [(offering.provider, table) for offering in offerings if (table := costs_of(offering))]
    for size, quality in places(model):
        tokens = find_tokens(terms, size, quality)
        costs = [(cost_of(table, size, quality), name) for name, table in known]
        priced = [(usd, name) for usd, name in costs if usd is not None]
        if tokens is None or not priced:
            continue
        price, (cost, provider) = tokens * usd_per_token(settings), max(priced)
        if price < cost:
            place = place_name(model.id, size, quality)
            yield Finding("below_cost", model.id, place, provider, price, cost)


def costs_of(offering: Offering) -> Terms | None:
    """What a provider asks, as a table of millionths of a millionth of a USD; None when that is not known."""
    cost = offering.cost or {}
    if "usd" not in cost and "megapixel_usd" not in cost:
        return None
    return terms_from(cost.get("usd"), cost.get("megapixel_usd"), lambda usd: ceil(Fraction(usd) * PICO))


def cost_of(table: Terms, size: Size, quality: str | None) -> Fraction | None:
    found = find_tokens(table, size, quality)
    return None if found is None else found / PICO


def usage_below_cost(
    model: Model, terms: Terms, offerings: Sequence[Offering], settings: Settings
) -> Iterator[Finding]:
    """Each rate for a million that is lower than the dearest offering's."""
    if terms.per_token is None:
        return
    for rate, cost_name in USAGE_COSTS.items():
        costs = [(Fraction(usd), o.provider) for o in offerings if (usd := million(o).get(cost_name))]
        if not costs:
            continue
        price = getattr(terms.per_token.rates, rate) * usd_per_token(settings)
        cost, provider = max(costs)
        if price < cost:
            yield Finding("below_cost", model.id, f"{model.id} {rate} for a million", provider, price, cost)


def million(offering: Offering) -> Mapping[str, Decimal]:
    return (offering.cost or {}).get("million_tokens_usd") or {}
