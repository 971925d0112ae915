"""What the last days would have cost at other prices, reckoned from the quantities that were priced."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.price_tools import Prices, Proposal
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import Price, PriceBook
from imagegate.domain import Inputs, Quote, Size
from imagegate.errors import InvalidRequest, Unpriced

SUM_UP = text("""
    SELECT model, billed ->> 'unit' AS unit, billed ->> 'size' AS size, billed ->> 'quality' AS quality,
        (billed ->> 'count')::int AS images, coalesce((billed ->> 'input_images')::int, 0) AS input_images,
        coalesce((billed ->> 'input_megapixels')::int, 0) AS input_megapixels,
        coalesce((billed ->> 'previews')::int, 0) AS previews,
        count(*) AS generations, sum(charged_tokens)::bigint AS charged
    FROM generations
    WHERE created_at >= now() - make_interval(days => :days) AND env = :env AND state = 'captured'
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
""")
"""The generations of one group cost the same: they differ neither in size, quality nor numbers of pictures."""

REPRICED = ("image", "megapixel", "token")


@dataclass(frozen=True, slots=True)
class Line:
    """One model. refused: images that could not be bought at the new price; they are in no sum of tokens."""

    model: str
    images: int = 0
    charged_tokens: int = 0
    would_cost_tokens: int = 0
    refused: int = 0
    at_most: bool = False
    """By usage: what it would have cost is not known, only the most it could have been."""

    @property
    def difference_tokens(self) -> int:
        return self.would_cost_tokens - self.charged_tokens

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "images": self.images,
            "charged_tokens": self.charged_tokens,
            "would_cost_tokens": self.would_cost_tokens,
            "difference_tokens": self.difference_tokens,
            "refused_images": self.refused,
            "at_most": self.at_most,
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """lines: the models whose price would change and that were drawn. total: every model of those days."""

    days: int
    env: str
    lines: tuple[Line, ...]
    total: Line

    def to_json(self) -> dict[str, Any]:
        total = {name: value for name, value in self.total.to_json().items() if name != "model"}
        models = [line.to_json() for line in self.lines]
        return {"days": self.days, "env": self.env, "models": models, "total": total}


async def preview(
    connection: AsyncConnection,
    catalogue: Catalogue,
    current: Prices,
    proposal: Proposal,
    *,
    days: int = 7,
    env: str = "live",
) -> Preview:
    """days: 1 to 90, back from now by the database's clock. Models whose price stays keep what was charged."""
    if not 1 <= days <= 90:
        raise InvalidRequest("A preview looks back 1 to 90 days.", param="days")
    before, after = PriceBook(current), PriceBook(with_proposal(current, proposal))
    changed: dict[str, Line] = {}
    total = Line("")
    for row in await connection.execute(SUM_UP, {"days": days, "env": env}):
        images = (row.images or 0) * row.generations
        size = Size.parse(row.size or "")
        model = catalogue.models.get(row.model)
        old = find(before, catalogue, row.model)
        new = find(after, catalogue, row.model)
        if model is None or size is None or row.unit not in REPRICED or old == new:
            part = Line(row.model, images, row.charged, row.charged)
        else:
            inputs = Inputs(row.input_images, row.input_megapixels)
            quoted = quote_at(new, row.model, size, row.quality, row.images, inputs, row.previews)
            part = priced(row.model, row.images, row.previews, row.generations, row.charged, quoted)
            changed[row.model] = added(changed.get(row.model, Line(row.model)), part)
        total = added(total, part)
    lines = sorted(changed.values(), key=lambda line: -abs(line.difference_tokens))
    return Preview(days, env, tuple(lines), total)


def with_proposal(current: Prices, proposal: Proposal) -> Mapping[str, Price]:
    """The prices in force as they would be. A model's first price has version 0 here."""
    some = next(iter(current.values()), None)
    if some is None:
        raise InvalidRequest("Nothing has a price yet, so nothing can be compared.")
    fresh = {id_: replace(some, model=id_, version=0, terms=None) for id_ in proposal.terms}
    new = {id_: replace(current.get(id_, fresh[id_]), terms=terms) for id_, terms in proposal.terms.items()}
    return {**current, **new}


def find(book: PriceBook, catalogue: Catalogue, model_id: str) -> Price | None:
    """None: it has no price, or is no model any more."""
    try:
        return book.find(catalogue.models[model_id], catalogue) if model_id in catalogue.models else None
    except Unpriced:
        return None


def quote_at(
    price: Price | None,
    model: str,
    size: Size,
    quality: str | None,
    images: int,
    inputs: Inputs,
    previews: int,
) -> Quote | None:
    if price is None:
        return None
    try:
        return price.quote(
            model=model, size=size, quality=quality, n=images, inputs=inputs, previews=previews
        )
    except (Unpriced, InvalidRequest):
        return None


def priced(
    model: str, images: int, previews: int, generations: int, charged: int, quoted: Quote | None
) -> Line:
    if quoted is None:
        return Line(model, images * generations, charged, 0, images * generations)
    tokens = quoted.tokens_for(images, previews) * generations  # each generation is rounded up by itself
    return Line(model, images * generations, charged, tokens, at_most=quoted.rates is not None)


def added(one: Line, other: Line) -> Line:
    return Line(
        one.model,
        one.images + other.images,
        one.charged_tokens + other.charged_tokens,
        one.would_cost_tokens + other.would_cost_tokens,
        one.refused + other.refused,
        one.at_most or other.at_most,
    )
