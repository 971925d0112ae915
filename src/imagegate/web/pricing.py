"""What a model costs, as callers are told it: live, in tokens and in the configured currency."""

from decimal import Decimal
from typing import Any

from imagegate.catalogue.prices import Price
from imagegate.domain import Model
from imagegate.errors import Unpriced
from imagegate.services import Services


def price_of(services: Services, model: Model) -> Price | None:
    """The price in force; None = unpriced: the model refuses."""
    try:
        return services.prices.find(model, services.catalogue)
    except Unpriced:
        return None


def pricing_of(services: Services, model: Model) -> dict[str, Any] | None:
    """The table by size and quality, each price in tokens and in units of the currency. None = unpriced.

    per_partial: tokens of one preview in a stream; None = none are shown.
    """
    price = price_of(services, model)
    if price is None:
        return None
    per_unit = services.settings.tokens_per_currency_unit
    terms = price.terms.to_json() if price.terms else {"cells": [], "per_megapixel": None, "unit": "image"}
    for cell in terms["cells"]:
        cell["price"] = float(Decimal(cell["tokens"]) / per_unit)
    return {
        "currency": services.settings.currency,
        "tokens_per_currency_unit": per_unit,
        "version": price.version,
        "valid_from": int(price.valid_from.timestamp()),
        "source": price.source,
        "unit": terms["unit"],
        "prices": terms["cells"],
        "per_megapixel": terms["per_megapixel"],
        "per_partial": terms.get("per_partial"),
    }
