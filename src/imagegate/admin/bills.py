"""How the charge of a generation came about, line by line, in exact numbers and rounded up once."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from fractions import Fraction
from math import ceil
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import Price, price_from
from imagegate.catalogue.tables import prices

CLOCK = timedelta(minutes=1)
"""A price may be set while a generation that saw it is being opened."""


async def find_price(connection: AsyncConnection, catalogue: Catalogue, generation: Any) -> Price | None:
    """The version that the generation is pinned to: the model's own, or that of the model it stood under."""
    for model in standing_under(catalogue, generation.model):
        query = select(prices).where(
            prices.c.model == model,
            prices.c.version == generation.price_version,
            prices.c.valid_from <= generation.created_at + CLOCK,
        )
        if row := (await connection.execute(query)).one_or_none():
            return price_from(row)
    return None


def standing_under(catalogue: Catalogue, model: str) -> list[str]:
    """The model, and the successors whose price it may have had."""
    found = [model]
    while (entry := catalogue.entries.get(found[-1])) and entry.model.successor:
        if entry.model.successor in found:
            break
        found.append(entry.model.successor)
    return found


def bill_json(generation: Any, price: Price | None, moved: Sequence[Any]) -> dict[str, Any]:
    """Tokens that are exact are written as whole numbers or fractions: `5880`, `12345/7`."""
    quote: Mapping[str, Any] = generation.quote
    image_tokens = Fraction(quote["image_tokens"])
    delivered = (generation.billed or {}).get("count", 0)
    return {
        "unit": quote["unit"],
        "size": quote["size"],
        "quality": quote["quality"],
        "n": quote["n"],
        "image_tokens": str(image_tokens),
        "input_tokens": quote.get("input_tokens", 0),
        "hold_tokens": generation.hold_tokens,
        "delivered_images": delivered,
        "charged_tokens": generation.charged_tokens,
        "refunded_tokens": refunded(moved),
        "lines": [
            {"says": says, "tokens": str(tokens)}
            for says, tokens in lines(generation, image_tokens, delivered, moved)
        ],
        "price": version_json(generation, price),
    }


def refunded(moved: Sequence[Any]) -> int:
    return sum(row.tokens for row in moved if row.kind == "refund")


def lines(
    generation: Any, image_tokens: Fraction, delivered: int, moved: Sequence[Any]
) -> list[tuple[str, Fraction | int]]:
    quote = generation.quote
    inputs = quote.get("input_tokens", 0)
    shown, each = quote.get("previews", (0, 0))
    previews, came = quote["n"] * shown * each, (generation.billed or {}).get("previews", 0)
    quality = f", quality {quote['quality']}" if quote["quality"] else ""
    most = "at most, " if quote["unit"] == "token" else ""
    found: list[tuple[str, Fraction | int]] = [
        (f"{most}one image of {quote['size']}{quality}, priced by the {quote['unit']}", image_tokens),
        (f"asked for: {quote['n']} × {image_tokens}", quote["n"] * image_tokens),
        *([("pictures handed in, once", inputs)] if inputs else []),
        *([(f"previews: {quote['n'] * shown} × {each} at most", previews)] if shown else []),
        (
            f"held{rounding(quote['n'] * image_tokens + inputs + previews, generation.hold_tokens)}",
            generation.hold_tokens,
        ),
    ]
    if generation.state == "captured":
        exact = delivered * image_tokens + (inputs + came * each if delivered else 0)
        found += [
            (
                f"delivered: {delivered} × {image_tokens}"
                + (" and the pictures handed in" if inputs else "")
                + (f" and {came} previews × {each}" if came else ""),
                exact,
            ),
            (f"charged{rounding(exact, generation.charged_tokens)}", generation.charged_tokens),
        ]
    elif generation.state == "voided":
        found.append(("charged: nothing, the hold was given back", 0))
    found += [(f"refund {row.cause}: {row.reason}", -row.tokens) for row in moved if row.kind == "refund"]
    if refunded(moved):
        found.append(("paid in the end", generation.charged_tokens - refunded(moved)))
    return found


def rounding(exact: Fraction, tokens: int) -> str:
    """How the whole number follows from the exact one; a price by usage may count otherwise."""
    if exact == tokens:
        return ""
    return ", rounded up once" if ceil(exact) == tokens else ", as recorded"


def version_json(generation: Any, price: Price | None) -> dict[str, Any]:
    """The pinned version. model: whose price it is, null when that model is no longer known."""
    if price is None:
        return {"model": None, "version": generation.price_version}
    return {
        "model": price.model,
        "version": price.version,
        "source": price.source,
        "source_date": price.source_date.isoformat() if price.source_date else None,
        "valid_from": timestamp(price.valid_from),
        "reason": price.reason,
        "actor": price.actor,
        "tokens_per_usd": f"{price.rate:f}" if price.rate is not None else None,
    }
