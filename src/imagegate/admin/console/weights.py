"""Ranks and weights of offerings: what the catalogue gives, what an operator prefers, and the share that follows."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin import preferences
from imagegate.admin.console.door import Doing, said, whole
from imagegate.admin.preferences import preference_json
from imagegate.catalogue import preference_rows
from imagegate.catalogue.preferences import PreferenceBook
from imagegate.domain import Model
from imagegate.errors import InvalidRequest
from imagegate.routing.policy import USUAL_WEIGHT

COLUMNS = ("model", "provider", "offering", "asked", "rank", "weight", "share", "preferred")


def weigh(
    models: Iterable[Model], book: PreferenceBook, reachable: Collection[str], provider: str | None = None
) -> list[dict[str, Any]]:
    """An offering a row. share: of its model's requests under `balanced`, while all who can be asked do well.

    reachable: the providers that can be asked. provider: its offerings alone.
    """
    return [
        row
        for model in models
        for row in shares(model, book, reachable)
        if provider is None or row["provider"] == provider
    ]


def shares(model: Model, book: PreferenceBook, reachable: Collection[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for offering in model.offerings:
        preferred = book.find(model.id, offering.provider)
        rank, weight = (preferred.rank, preferred.weight) if preferred else (None, None)
        weight = offering.weight if weight is None else weight
        rows.append(
            {
                "model": model.id,
                "provider": offering.provider,
                "offering": offering.upstream_model,
                "asked": offering.provider in reachable,
                "rank": offering.rank if rank is None else rank,
                "weight": USUAL_WEIGHT if weight is None else weight,
                "share": None,
                "preferred": preference_json(preferred) if preferred else None,
            }
        )
    all_of_it = sum(row["weight"] for row in rows if row["asked"])
    for row in rows:
        if row["asked"] and all_of_it:
            row["share"] = round(row["weight"] / all_of_it, 4)
    return rows


async def load_book(connection: AsyncConnection) -> PreferenceBook:
    return PreferenceBook(await preference_rows.load(connection))


async def prefer(doing: Doing, model: str, provider: str | None) -> None:
    """What the form says; with the button `back` the catalogue's numbers count again.

    Raises InvalidRequest, UnknownModel, NotFound.
    """
    catalogue, form = doing.visit.services.catalogue, doing.form
    if provider is None:
        raise InvalidRequest("Say whose offering it is.", param="provider")
    if form.get("do") == "back":
        await preferences.unprefer(doing.tx, catalogue, model, provider, doing.actor)
        return
    rank, weight = (whole(form, name) if said(form, name) else None for name in ("rank", "weight"))
    await preferences.prefer(doing.tx, catalogue, model, provider, rank, weight, doing.actor)
