"""What an operator does to prices: set one, end one, list them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import Price, PriceBook
from imagegate.domain import Size
from imagegate.errors import InvalidRequest, Unpriced
from imagegate.generation.fitting import LEGACY
from imagegate.identity.audit import Actor, record, said


def price_json(price: Price) -> dict[str, Any]:
    """`prices`: tokens of one image by size and quality, null = any. `ended`: the model cannot be bought.

    per_partial: tokens of one preview in a stream; null = none are shown.
    """
    terms = price.terms.to_json() if price.terms else {"unit": None, "cells": [], "per_megapixel": None}
    return {
        "model": price.model,
        "version": price.version,
        "ended": price.terms is None,
        "unit": terms["unit"],
        "prices": terms["cells"],
        "per_megapixel": terms["per_megapixel"],
        "per_partial": terms.get("per_partial"),
        "valid_from": timestamp(price.valid_from),
        "source": price.source,
        "source_date": price.source_date.isoformat() if price.source_date else None,
        "reason": price.reason,
        "actor": price.actor,
    }


async def set_price(
    tx: AsyncConnection,
    catalogue: Catalogue,
    name: str,
    *,
    size: Size | None,
    quality: str | None,
    tokens: int,
    actor: Actor,
) -> Price:
    """Append a version of the price of the model that `name` finds. Raises InvalidRequest, UnknownModel."""
    model = catalogue.find(name).model
    word = LEGACY.get(quality, quality) if quality else None
    if word is not None and word not in model.qualities:
        known = ", ".join(model.qualities) or "none"
        raise InvalidRequest(f"{model.id} has no quality {quality!r}; it has: {known}.", param="quality")
    reason = said(actor.reason)
    price = await price_rows.set_price(tx, model.id, size, word, tokens, reason, actor.name)
    detail = {
        "version": price.version,
        "size": str(size) if size else None,
        "quality": word,
        "tokens": tokens,
    }
    await record(tx, actor, "prices.set", model.id, detail=detail)
    return price


async def end_price(tx: AsyncConnection, catalogue: Catalogue, name: str, *, actor: Actor) -> Price:
    """From now on the model cannot be bought. Raises UnknownModel, and OperatorError when it has no price."""
    model_id = catalogue.find(name).model.id
    price = await price_rows.end_price(tx, model_id, said(actor.reason), actor.name)
    await record(tx, actor, "prices.end", model_id, detail={"version": price.version})
    return price


def list_prices(catalogue: Catalogue, book: PriceBook, name: str | None) -> Sequence[Price]:
    """The prices in force, ended ones too; of one model its own, else the one it stands under."""
    if name is None:
        return [book.current[id_] for id_ in catalogue.entries if id_ in book.current]
    model = catalogue.find(name).model
    if own := book.current.get(model.id):
        return [own]
    try:
        return [book.find(model, catalogue)]
    except Unpriced:
        return []
