"""`?dryRun=true`: what a request would cost. It counts as a request; nothing is held, nobody is asked."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate.domain import Candidate, GenerationRequest, Plan, Principal, Quote
from imagegate.generation import admission, choosing, pipeline
from imagegate.services import Services
from imagegate.settings import Settings
from imagegate.web.dependencies import is_set
from imagegate.web.drawing import with_own_key
from imagegate.web.listener import Listener

NAMES = ("dryRun", "dry_run")
PARAMETER: dict[str, Any] = {
    "name": "dryRun",
    "in": "query",
    "required": False,
    "description": "true: the estimate instead of images. Nothing is held, nobody is asked.",
    "schema": {"type": "boolean", "default": False},
}


def is_dry(request: Request) -> bool:
    """Raises InvalidRequest for a value that is neither true nor false."""
    return is_set(request, *NAMES)


async def estimate_reply(
    request: Request, services: Services, principal: Principal, wanted: GenerationRequest
) -> Response:
    """Raises what planning raises, and RateLimited."""
    Listener(request).admitted(await admission.count(services, principal))
    wanted = with_own_key(request, principal, wanted)
    plan = pipeline.estimate(services, principal, wanted)
    policy = choosing.policy_of(services, principal, wanted)
    candidates = choosing.in_order(services, plan, policy)
    return JSONResponse(estimate_json(plan, candidates, services.settings))


def estimate_json(plan: Plan, candidates: Sequence[Candidate], settings: Settings) -> dict[str, Any]:
    """Prices in units of the currency, as numbers; `maximum`: the price goes by usage, and can only be less."""
    quote = plan.quote
    return {
        "estimated": True,
        "model": plan.model.id,
        "provider": candidates[0].offering.provider,
        "providers": [candidate.offering.provider for candidate in candidates],
        "total_cost_micros": ceil(Fraction(quote.hold_tokens * 10**6, settings.tokens_per_currency_unit)),
        "currency": settings.currency,
        "hold_tokens": quote.hold_tokens,
        "price_version": quote.price_version,
        "maximum": quote.rates is not None,
        "size": str(quote.size),
        "quality": quote.quality,
        "components": components(quote, settings),
        "parameters": {
            r.name: {"treatment": r.treatment} | ({"detail": r.detail} if r.detail else {})
            for r in candidates[0].fit.receipts
        },
    }


def components(quote: Quote, settings: Settings) -> list[dict[str, Any]]:
    found = [component("output", quote.n, quote.image_tokens, settings)]
    if quote.previews:
        each = Fraction(quote.preview_tokens)
        shown = component("output", quote.n * quote.previews, each, settings)
        found.append(shown | {"metric": "partial_image"})
    if quote.input_tokens:
        read = component("input", 1, Fraction(quote.input_tokens), settings)
        found.append(read | {"metric": "all_input_images"})
    return found


def component(kind: str, quantity: int, unit_tokens: Fraction, settings: Settings) -> dict[str, Any]:
    return {
        "type": kind,
        "metric": "image",
        "quantity": quantity,
        "billable_quantity": quantity,
        "unit_price": money(unit_tokens, settings),
        "total_cost": money(unit_tokens * quantity, settings),
    }


def money(tokens: Fraction, settings: Settings) -> float:
    """Exact to a thousandth of a token; a number, since clients add it up."""
    exact = Decimal(tokens.numerator) / Decimal(tokens.denominator) / settings.tokens_per_currency_unit
    return float(round(exact, 12))
