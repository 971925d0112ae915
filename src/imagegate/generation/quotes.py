"""The quote of a generation as it is recorded, and back: its price is pinned."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from imagegate.domain import Inputs, Plan, Quote, Size, UsageRates


def quote_json(plan: Plan) -> dict[str, Any]:
    quote = plan.quote
    return {
        "model": quote.model,
        "unit": quote.unit,
        "image_tokens": str(quote.image_tokens),
        "n": quote.n,
        "size": str(quote.size),
        "quality": quote.quality,
        "price_version": quote.price_version,
        **({"inputs": [quote.inputs.images, quote.inputs.megapixels]} if quote.inputs.images else {}),
        **({"input_tokens": quote.input_tokens} if quote.input_tokens else {}),
        **({"previews": [quote.previews, quote.preview_tokens]} if quote.previews else {}),
        **({"rates": [quote.rates.text_in, quote.rates.image_in, quote.rates.output]} if quote.rates else {}),
    }


def quote_from(model: str, stored: Mapping[str, Any]) -> Quote:
    """The quote that a generation was opened with: its price is pinned. model: where it is not said."""
    size = Size.parse(stored["size"])
    if size is None:
        raise ValueError(f"{stored['size']!r} is no size")
    rates = stored.get("rates")
    previews, preview_tokens = stored.get("previews", (0, 0))
    return Quote(
        model=stored.get("model", model),
        price_version=stored["price_version"],
        image_tokens=Fraction(stored["image_tokens"]),
        n=stored["n"],
        size=size,
        quality=stored["quality"],
        unit=stored["unit"],
        rates=UsageRates(*rates) if rates else None,
        input_tokens=stored.get("input_tokens", 0),
        inputs=Inputs(*stored.get("inputs", ())),
        previews=previews,
        preview_tokens=preview_tokens,
    )
