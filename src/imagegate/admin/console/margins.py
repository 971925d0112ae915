"""What is left of a model's price once its provider is paid."""

from decimal import Decimal
from typing import Any

from imagegate.admin.models import find_price, find_served
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import PriceBook
from imagegate.catalogue.pricing import usd_per_token
from imagegate.catalogue.upstream_cost import image_cost_usd
from imagegate.domain import Model
from imagegate.errors import InvalidRequest, Unpriced
from imagegate.settings import Settings


def margin_of(catalogue: Catalogue, book: PriceBook, settings: Settings, model: Model) -> dict[str, Any]:
    """Of one image as the model draws it by default. cost_from_usd, cost_to_usd: the cheapest and dearest provider's.

    margin_percent: of the price, at the dearest provider. None where price or cost is not known per image.
    """
    served = find_served(catalogue, model) or model
    size, quality = served.default_size, served.default_quality
    costs = [cost for o in served.offerings if (cost := image_cost_usd(o, size, quality)) is not None]
    shown: dict[str, Any] = {
        "default": f"{size}{' ' + quality if quality else ''}",
        "price_usd": None,
        "cost_from_usd": f"{min(costs):f}" if costs else None,
        "cost_to_usd": f"{max(costs):f}" if costs else None,
        "margin_percent": None,
    }
    price = find_price(book, catalogue, served)
    if price is None:
        return shown
    try:
        quote = price.quote(model=served.id, size=size, quality=quality, n=1)
    except (InvalidRequest, Unpriced):
        return shown
    exact = quote.hold_tokens * usd_per_token(settings)
    usd = Decimal(exact.numerator) / Decimal(exact.denominator)
    shown["price_usd"] = f"{usd:.6f}"
    if costs and usd > 0 and quote.rates is None:
        shown["margin_percent"] = float(round((usd - max(costs)) / usd * 100, 1))
    return shown
