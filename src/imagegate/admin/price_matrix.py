"""Price, cost and margin of one image of a model, in each of its sizes at each of its qualities."""

from decimal import Decimal
from typing import Any

from imagegate.admin.models import find_price, find_served
from imagegate.admin.price_rules import places
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import Price, PriceBook
from imagegate.catalogue.pricing import usd_per_token
from imagegate.catalogue.upstream_cost import image_cost_usd
from imagegate.domain import Model, Size
from imagegate.errors import InvalidRequest, Unpriced
from imagegate.settings import Settings

Cell = dict[str, Any]


def matrix(catalogue: Catalogue, book: PriceBook, settings: Settings, model: Model) -> list[Cell]:
    """As it is served, so of a redirected model the target's. The margin is at the dearest provider."""
    served = find_served(catalogue, model) or model
    price = find_price(book, catalogue, served)
    return [cell_of(served, price, settings, size, quality) for size, quality in places(served)]


def cell_of(model: Model, price: Price | None, settings: Settings, size: Size, quality: str | None) -> Cell:
    """tokens: null = it has no price; of a price by usage the most an image can cost, and no margin."""
    tokens, by_usage = tokens_of(model, price, size, quality)
    costs = {
        o.provider: cost for o in model.offerings if (cost := image_cost_usd(o, size, quality)) is not None
    }
    dearest = max(costs, key=lambda name: costs[name]) if costs else None
    usd = None if tokens is None else in_usd(tokens, settings)
    margin = None
    if usd and dearest is not None and not by_usage:
        margin = float(round((usd - costs[dearest]) / usd * 100, 1))
    return {
        "size": str(size),
        "quality": quality,
        "tokens": tokens,
        "by_usage": by_usage,
        "price_usd": None if usd is None else f"{usd:.6f}",
        "cost_usd": f"{costs[dearest]:f}" if dearest is not None else None,
        "dearest": dearest,
        "margin_percent": margin,
    }


def tokens_of(model: Model, price: Price | None, size: Size, quality: str | None) -> tuple[int | None, bool]:
    """Tokens of one image, and whether they are but a bound."""
    if price is None:
        return None, False
    try:
        quote = price.quote(model=model.id, size=size, quality=quality, n=1)
    except (InvalidRequest, Unpriced):
        return None, False
    return quote.hold_tokens, quote.rates is not None


def in_usd(tokens: int, settings: Settings) -> Decimal:
    exact = tokens * usd_per_token(settings)
    return Decimal(exact.numerator) / Decimal(exact.denominator)
