"""What a new price may not do unawares: be zero, leave a model without a price, or go by a usage nobody reports."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.price_items import IMAGE, take_apart
from imagegate.catalogue.pricing import find_tokens
from imagegate.catalogue.terms import Terms
from imagegate.domain import Model, Offering, Size
from imagegate.errors import InvalidRequest

MOST_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator allowed in so many words."""

    zero: bool = False
    unpriced: bool = False


def guard(
    catalogue: Catalogue,
    reachable: Collection[str],
    old: Mapping[str, Terms | None],
    new: Mapping[str, Terms | None],
    allowed: Allowed,
) -> None:
    """Raises InvalidRequest naming everything that is not allowed, at most 20 lines."""
    faults: list[str] = []
    for model_id, terms in new.items():
        model, before = catalogue.models[model_id], old.get(model_id)
        if terms is not None and terms.per_token:
            faults += usage_faults(model, enabled_offerings(catalogue, reachable, model_id), terms)
        if not allowed.zero:
            already = zeros(model_id, before)
            faults += [
                f"{zero} would cost nothing (--allow-zero)"
                for zero in zeros(model_id, terms)
                if zero not in already
            ]
        if not allowed.unpriced:
            faults += [
                f"{lost} would lose its price (--allow-unpriced)" for lost in lose(model, before, terms)
            ]
    if faults:
        more = f"\n  and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise InvalidRequest(
            "Nothing was changed, because this needs to be allowed or mended:\n  "
            + "\n  ".join(faults[:MOST_FAULTS])
            + more
        )


def enabled_offerings(catalogue: Catalogue, reachable: Collection[str], model_id: str) -> Sequence[Offering]:
    """Those that can be asked here: the provider is known and configured. The sandbox is no seller of others."""
    return [o for o in catalogue.shelf("live").get(model_id, ()) if o.provider in reachable]


def places(model: Model) -> Iterator[tuple[Size, str | None]]:
    """Every size of the model at every quality."""
    for size in dict.fromkeys((*model.sizes, model.default_size)):
        for quality in model.qualities or (None,):
            yield size, quality


def place_name(model_id: str, size: Size | None, quality: str | None) -> str:
    return " ".join(str(part) for part in (model_id, size, quality) if part)


def zeros(model_id: str, terms: Terms | None) -> list[str]:
    """What would cost nothing, by name."""
    if terms is None:
        return []
    found = [
        place_name(model_id, i.size, i.quality)
        for i in take_apart(model_id, terms)
        if i.item == IMAGE and i.tokens == 0
    ]
    rule, usage = terms.per_megapixel, terms.per_token
    if terms.per_partial == 0:
        found.append(f"{model_id} previews")
    if rule and not (rule.first_tokens or rule.minimum_tokens):
        found.append(f"{model_id} by the megapixel")
    if usage and (not usage.rates.output or 0 in usage.bounds.values()):
        found.append(f"{model_id} by usage")
    return found


def lose(model: Model, old: Terms | None, new: Terms | None) -> list[str]:
    """The sizes and qualities that have a price and would have none; the model itself where nothing is left."""
    if old is None:
        return []
    if new is None:
        return [model.id]
    return [
        place_name(model.id, size, quality)
        for size, quality in places(model)
        if find_tokens(old, size, quality) is not None and find_tokens(new, size, quality) is None
    ]


def usage_faults(model: Model, offerings: Sequence[Offering], terms: Terms) -> list[str]:
    """Why the price cannot go by usage."""
    if not offerings:
        return [f"{model.id} cannot go by usage: no provider that sells it is configured here"]
    faults = [
        f"{model.id} cannot go by usage: {offering.provider} does not report it"
        for offering in offerings
        if not offering.reports_usage
    ]
    unbound = [
        place_name(model.id, size, quality)
        for size, quality in places(model)
        if find_tokens(terms, size, quality) is None
    ]
    return faults + [f"{name} has no bound for what is drawn" for name in unbound]
