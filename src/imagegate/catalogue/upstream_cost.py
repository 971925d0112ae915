"""What an offering's provider asks for one image, in USD, as the catalogue has it."""

from decimal import Decimal
from math import ceil

from imagegate.catalogue.pricing import find_cell, terms_from
from imagegate.domain import Offering, Size

NANO = 10**9


def image_cost_usd(offering: Offering, size: Size, quality: str | None) -> Decimal | None:
    """USD of one image, in steps of a thousand-millionth, rounded up; None where it is not known per image."""
    cost = offering.cost or {}
    if "usd" not in cost and "megapixel_usd" not in cost:
        return None
    terms = terms_from(cost.get("usd"), cost.get("megapixel_usd"), lambda usd: ceil(Decimal(str(usd)) * NANO))
    nano_usd = find_cell(terms.cells, terms.per_megapixel, size, quality)
    return None if nano_usd is None else Decimal(ceil(nano_usd)) / NANO
