"""What a call cost, by its provider or the catalogue, and what it may have cost without an image."""

from decimal import Decimal

from imagegate.catalogue.upstream_cost import delivered_cost_usd, worst_cost_usd
from imagegate.domain import Candidate, ProviderResult
from imagegate.errors import (
    Ambiguous,
    BilledInvalid,
    ImagegateError,
    ModerationUnavailable,
    OutputBlocked,
    RefusedUnbilled,
)
from imagegate.services import Services


def given(result: ProviderResult, error: ImagegateError | None, delivered: int) -> int:
    """The images that a provider has certainly billed: those that came, when any was fit to be looked at."""
    withheld = isinstance(error, OutputBlocked | ModerationUnavailable)
    return len(result.images) if delivered or withheld else 0


def cost_usd(candidate: Candidate, result: ProviderResult, delivered: int) -> Decimal | None:
    """What the provider charges: its own word, else what the catalogue makes of its answer."""
    if result.cost_usd is not None or not delivered:
        return result.cost_usd
    fit = candidate.fit
    return delivered_cost_usd(candidate.offering, result.usage, fit.size, fit.quality, delivered)


def at_risk_usd(
    services: Services, candidate: Candidate, error: ImagegateError | None, images: int
) -> Decimal | None:
    """What the provider may have billed for an attempt without an image; None when it certainly did not."""
    if isinstance(error, RefusedUnbilled):
        provider = services.catalogue.providers[candidate.offering.provider]
        possible = error.at_risk and not provider.errors_unbilled
    else:
        possible = isinstance(error, Ambiguous | BilledInvalid)
    if not possible:
        return None
    fit = candidate.fit
    cost = worst_cost_usd(candidate.offering, fit.size, fit.quality, fit.previews)
    return None if cost is None else cost * images
