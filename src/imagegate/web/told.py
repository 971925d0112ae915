"""What an answer with images tells beside them, in headers and under `metadata`, in every dialect."""

from typing import Any

from imagegate.catalogue.provider_names import name_of
from imagegate.domain import Attempt, Generation
from imagegate.generation.moderating import told
from imagegate.settings import Settings


def serving_attempt(generation: Generation) -> Attempt | None:
    """The first that delivered."""
    return next((a for a in generation.attempts if a.outcome == "DELIVERED"), None)


def headers_for(generation: Generation) -> dict[str, str]:
    served = serving_attempt(generation)
    headers = {
        "x-imagegate-generation-id": generation.public_id,
        "x-imagegate-provider": served.provider if served else "",
        "x-imagegate-model": generation.model,
        "x-imagegate-attempts": str(len(generation.attempts)),
        "x-imagegate-charged-tokens": str(generation.charged_tokens),
    }
    asked = int(generation.quote.get("n", 1))
    if len(generation.images) != asked:
        headers["x-images-requested"] = str(asked)
    if generation.replayed:
        headers["idempotent-replayed"] = "true"
    return headers


def metadata(generation: Generation, settings: Settings) -> dict[str, Any]:
    served = serving_attempt(generation)
    return {
        "id": generation.public_id,
        "model": generation.model,
        "executed_model": served.upstream_model if served else None,
        "provider": served.provider if served else None,
        "provider_name": name_of(served.provider) if served else None,
        "attempts": [attempt_json(attempt) for attempt in generation.attempts],
        "charged_tokens": generation.charged_tokens,
        "cost": generation.charged_tokens / settings.tokens_per_currency_unit,
        "currency": settings.currency,
        "cost_currency": settings.currency,
        "balance_tokens": generation.balance_tokens,
        "price_version": generation.quote.get("price_version"),
        "parameters": {
            r.name: {"treatment": r.treatment, **({"detail": r.detail} if r.detail else {})}
            for r in generation.receipts
        },
        "provenance": "re-encoded by the gateway"
        if generation.images[0].reencoded
        else "as the provider made it",
        **({"custom": custom} if (custom := generation.request.get("extras", {}).get("metadata")) else {}),
        **({"moderation": flagged} if (flagged := told(generation.moderation)) else {}),
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "provider": attempt.provider,
        "model": attempt.upstream_model,
        "class": attempt.outcome,
        "images": attempt.images,
        "ms": attempt.ms,
        "upstream_id": attempt.upstream_id,
        "cost_usd": None if attempt.cost_usd is None else float(attempt.cost_usd),
        "at_risk_usd": None if attempt.at_risk_usd is None else float(attempt.at_risk_usd),
        "detail": attempt.detail,
    }
