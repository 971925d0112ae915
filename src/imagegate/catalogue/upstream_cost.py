"""What an offering's provider asks, in USD, as the catalogue has it."""

from collections.abc import Mapping
from decimal import Decimal
from math import ceil
from typing import Any

from imagegate.catalogue.pricing import find_cell, terms_from
from imagegate.catalogue.terms import Terms
from imagegate.domain import Offering, Size, count_usage

NANO = 10**9


def image_cost_usd(offering: Offering, size: Size, quality: str | None) -> Decimal | None:
    """USD of one image, in steps of a thousand-millionth, rounded up; None where it is not known per image."""
    terms = list_of(offering)
    if terms is None:
        return None
    nano_usd = find_cell(terms.cells, terms.per_megapixel, size, quality)
    return None if nano_usd is None else Decimal(ceil(nano_usd)) / NANO


def worst_cost_usd(offering: Offering, size: Size, quality: str | None, previews: int) -> Decimal | None:
    """USD of one image with all of its previews; None where that of the image is not known."""
    image, each = image_cost_usd(offering, size, quality), (offering.cost or {}).get("partial_usd")
    return image if image is None or each is None else image + Decimal(str(each)) * previews


_LISTS: dict[int, tuple[Offering, Terms | None]] = {}
"""By the offering's identity, which is kept beside it: read once, since every call asks."""


def list_of(offering: Offering) -> Terms | None:
    """The provider's price list in thousand-millionths of a USD."""
    known = _LISTS.get(id(offering))
    if known is None or known[0] is not offering:
        cost = offering.cost or {}
        usd, megapixel = cost.get("usd"), cost.get("megapixel_usd")
        there = usd is not None or megapixel is not None
        terms = terms_from(usd, megapixel, lambda n: ceil(Decimal(str(n)) * NANO)) if there else None
        known = _LISTS[id(offering)] = (offering, terms)
    return known[1]


def usage_cost_usd(offering: Offering, usage: Mapping[str, Any] | None) -> Decimal | None:
    """USD of what the provider counted; None where it sells by other units or did not count.

    Cached tokens are reckoned at the full rate, so this is never too low.
    """
    rates = (offering.cost or {}).get("million_tokens_usd")
    counted = count_usage(usage) if rates else None
    if rates is None or counted is None:
        return None
    asked = zip(("text_in", "image_in", "image_out"), counted, strict=True)
    return sum((Decimal(str(rates.get(name, 0))) * tokens for name, tokens in asked), Decimal(0)) / 10**6


def delivered_cost_usd(
    offering: Offering, usage: Mapping[str, Any] | None, size: Size, quality: str | None, images: int
) -> Decimal | None:
    """USD of a call that gave `images` images: by the provider's own count, else by its price list."""
    counted = usage_cost_usd(offering, usage)
    if counted is not None:
        return counted
    each = image_cost_usd(offering, size, quality)
    return None if each is None else each * images
