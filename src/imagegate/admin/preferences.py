"""What an operator prefers: the rank and weight of a model's offerings, and of models among models.

Each change takes a transaction and records itself. Again is no error: then nothing is recorded. All raise
UnknownModel and InvalidRequest.
"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.models import get_model
from imagegate.admin.moments import timestamp
from imagegate.catalogue import preference_rows, rule_rows
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.preferences import BEST_RANK, MOST_WEIGHT, WORST_RANK, Preference
from imagegate.errors import InvalidRequest, NotFound
from imagegate.identity.audit import Actor, record, said


async def prefer(
    tx: AsyncConnection,
    catalogue: Catalogue,
    name: str,
    provider: str | None,
    rank: int | None,
    weight: int | None,
    actor: Actor,
) -> Preference:
    """Give an offering of the model, or without a provider the model itself, a rank, a weight, or both.

    What is not given stays as it was. rank: 1 to 10,000, 1 is the best. weight: 0 to 10,000.
    """
    check_numbers(rank, weight)
    model_id, sold_by = await target_of(tx, catalogue, name, provider)
    before = await preference_rows.changing(tx, model_id, sold_by)
    if before is not None:
        rank = before.rank if rank is None else rank
        weight = before.weight if weight is None else weight
        if (before.rank, before.weight) == (rank, weight):
            return before
    reason = said(actor.reason)
    made = await preference_rows.write(tx, model_id, sold_by, rank, weight, reason, actor.name)
    detail = {"before": told(before), "after": told(made)}
    await record(tx, actor, "models.prefer", place(model_id, sold_by), detail=detail)
    return made


async def unprefer(
    tx: AsyncConnection, catalogue: Catalogue, name: str, provider: str | None, actor: Actor
) -> Preference:
    """Take it back: the catalogue's rank and weight count again. Gives what it was. Raises NotFound."""
    model_id, sold_by = await target_of(tx, catalogue, name, provider)
    before = await preference_rows.changing(tx, model_id, sold_by)
    if before is None:
        what = f"{sold_by}'s offering of {model_id}" if sold_by else f"{model_id} among models"
        raise NotFound(f"Nothing was preferred about {what}. List them: imagegate models preferences")
    await preference_rows.remove(tx, model_id, sold_by)
    detail = {"before": told(before), "after": None}
    await record(tx, actor, "models.unprefer", place(model_id, sold_by), detail=detail)
    return before


async def target_of(
    tx: AsyncConnection, catalogue: Catalogue, name: str, provider: str | None
) -> tuple[str, str]:
    """The model's id and the provider; empty for the model itself."""
    model = get_model(await rule_rows.under_rules(tx, catalogue), name)
    sellers = [offering.provider for offering in model.offerings]
    if provider is not None and provider not in sellers:
        known = ", ".join(sellers) or "nobody"
        raise InvalidRequest(f"{model.id} is sold by {known}, not by {provider!r}.", param="provider")
    return model.id, provider or ""


def check_numbers(rank: int | None, weight: int | None) -> None:
    if rank is None and weight is None:
        raise InvalidRequest("Say a rank, a weight, or both.", param="rank")
    if rank is not None and not BEST_RANK <= rank <= WORST_RANK:
        raise InvalidRequest(f"A rank is {BEST_RANK} (the best) to {WORST_RANK}.", param="rank")
    if weight is not None and not 0 <= weight <= MOST_WEIGHT:
        raise InvalidRequest(f"A weight is 0 to {MOST_WEIGHT}.", param="weight")


def place(model_id: str, provider: str) -> str:
    """`provider:model` as a caller would force it, or the model."""
    return f"{provider}:{model_id}" if provider else model_id


def told(preference: Preference | None) -> dict[str, Any] | None:
    return {"rank": preference.rank, "weight": preference.weight} if preference else None


def preference_json(preference: Preference) -> dict[str, Any]:
    """`provider`: null = the model itself, among models. `rank`, `weight`: null = the catalogue's."""
    return {
        "model": preference.model,
        "provider": preference.provider or None,
        "rank": preference.rank,
        "weight": preference.weight,
        "reason": preference.reason,
        "actor": preference.actor,
        "at": timestamp(preference.at),
    }
