"""What an operator does to prices: propose, look at the difference, publish. Plain functions, the caller's transaction.

Every price that is written is a new version with an entry in the audit log. A price of zero and a model that would
lose a price are refused unless they are allowed in so many words. Raises InvalidRequest, UnknownModel, OperatorError.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin import prices
from imagegate.admin.moments import timestamp
from imagegate.admin.price_rules import Allowed, guard
from imagegate.catalogue import litellm, price_files
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.litellm import Skipped
from imagegate.catalogue.price_items import Change, differences, take_apart
from imagegate.catalogue.prices import PRICES, Note, Price, bump_version, decimal_from
from imagegate.catalogue.pricing import tokens_per_usd, with_price
from imagegate.catalogue.terms import PerToken, Terms
from imagegate.domain import Size
from imagegate.errors import InvalidRequest, OperatorError
from imagegate.generation.fitting import LEGACY
from imagegate.identity.audit import Actor, record, said
from imagegate.settings import Settings

Prices = Mapping[str, Price]
"""The prices in force by model, ended ones too."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Prices that are not yet published. base: the versions in force that it was made against."""

    terms: Mapping[str, Terms | None]
    changes: tuple[Change, ...]
    base: Mapping[str, int]
    source: str = "operator"
    source_date: date | None = None
    rate: Decimal | None = None
    skipped: tuple[Skipped, ...] = ()
    others: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "changes": [change_json(change) for change in self.changes],
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.skipped],
            "not_image_models": self.others,
        }


def change_json(change: Change) -> dict[str, Any]:
    return {
        "model": change.model,
        "item": change.item,
        "size": str(change.size) if change.size else None,
        "quality": change.quality,
        "old_tokens": change.old_tokens,
        "new_tokens": change.new_tokens,
        "percent": change.percent,
    }


def export(current: Prices, catalogue: Catalogue, form: str) -> str:
    """The prices in force as a file, in the catalogue's order. form: `csv` or `yaml`."""
    listed = [id_ for id_ in catalogue.entries if id_ in current]
    items = [item for id_ in listed for item in take_apart(id_, current[id_].terms)]
    return price_files.write_yaml(items) if form == "yaml" else price_files.write_csv(items)


def propose(
    current: Prices, terms: Mapping[str, Terms | None], source: str = "operator", **rest: Any
) -> Proposal:
    """What would change. Models whose price stays as it is are left out."""
    old = terms_in(current)
    found = {id_: differences(id_, old.get(id_), new) for id_, new in terms.items()}
    changed = {id_: terms[id_] for id_, changes in found.items() if changes}
    return Proposal(
        terms=changed,
        changes=tuple(change for id_ in changed for change in found[id_]),
        base={id_: current[id_].version for id_ in changed if id_ in current},
        source=source,
        **rest,
    )


def terms_in(current: Prices) -> dict[str, Terms | None]:
    return {id_: price.terms for id_, price in current.items()}


def propose_file(current: Prices, catalogue: Catalogue, name: str, text: str) -> Proposal:
    """name: the file's. Raises OperatorError naming the lines that are wrong."""
    return propose(
        current, price_files.read_prices(name, text, catalogue, terms_in(current), LEGACY), f"file {name}"
    )


def propose_litellm(
    current: Prices, catalogue: Catalogue, settings: Settings, name: str, text: str
) -> Proposal:
    """LiteLLM's list over the prices in force, converted by the settings. Raises OperatorError for another file."""
    read = litellm.read_list(name, text, catalogue, settings, terms_in(current), LEGACY)
    return propose(
        current,
        read.terms,
        f"LiteLLM price list {name}",
        source_date=datetime.now(UTC).date(),
        rate=decimal_from(tokens_per_usd(settings)),
        skipped=read.skipped,
        others=read.others,
    )


def propose_set(
    current: Prices, catalogue: Catalogue, name: str, size: Size | None, quality: str | None, tokens: int
) -> Proposal:
    model = catalogue.find(name).model
    price = current.get(model.id)
    word = quality_of(catalogue, model.id, quality)
    return propose(current, {model.id: with_price(price.terms if price else None, size, word, tokens)})


def propose_usage(current: Prices, catalogue: Catalogue, name: str, usage: PerToken) -> Proposal:
    """A price by usage instead of the one in force. Its bounds may say qualities in other words."""
    model = catalogue.find(name).model
    bounds = {
        (size, quality_of(catalogue, model.id, quality)): n for (size, quality), n in usage.bounds.items()
    }
    its = PerToken(usage.rates, bounds, usage.prompt_bound, usage.input_image_bound)
    return propose(current, {model.id: Terms({}, None, "token", its)})


def quality_of(catalogue: Catalogue, model_id: str, quality: str | None) -> str | None:
    """The quality in our word. Raises InvalidRequest for one the model has not."""
    model = catalogue.models[model_id]
    word = LEGACY.get(quality, quality) if quality else None
    if word is not None and word not in model.qualities:
        known = ", ".join(model.qualities) or "none"
        raise InvalidRequest(f"{model.id} has no quality {quality!r}; it has: {known}.", param="quality")
    return word


async def publish(
    tx: AsyncConnection,
    catalogue: Catalogue,
    reachable: Collection[str],
    proposal: Proposal,
    actor: Actor,
    *,
    allowed: Allowed | None = None,
    valid_from: datetime | None = None,
) -> list[Price]:
    """Append a version for each model of the proposal, all or none. Other changes of prices wait until `tx` ends.

    reachable: the providers that can be asked here. valid_from: None = at once.
    Raises OperatorError when a price has changed since the proposal was made, and
    InvalidRequest naming what is not allowed.
    """
    await bump_version(tx, PRICES)
    current = await price_rows.load(tx, valid_from)
    stale = [id_ for id_ in proposal.terms if version_of(current, id_) != proposal.base.get(id_, 0)]
    if stale:
        raise OperatorError(
            f"Prices have changed since this was worked out ({', '.join(stale[:5])}), so nothing was changed. "
            "Look at the difference again."
        )
    return await write(tx, catalogue, reachable, current, proposal, actor, allowed or Allowed(), valid_from)


def version_of(current: Prices, model: str) -> int:
    return current[model].version if model in current else 0


async def write(
    tx: AsyncConnection,
    catalogue: Catalogue,
    reachable: Collection[str],
    current: Prices,
    proposal: Proposal,
    actor: Actor,
    allowed: Allowed,
    valid_from: datetime | None,
) -> list[Price]:
    old = terms_in(current)
    guard(catalogue, reachable, old, proposal.terms, allowed)
    reason = said(actor.reason)
    note = Note(
        reason, actor.name, proposal.source, proposal.source_date, proposal.rate, valid_from=valid_from
    )
    written = await price_rows.append(tx, proposal.terms, note)
    for price in written:
        await record(
            tx,
            actor,
            "prices.set" if price.terms else "prices.end",
            price.model,
            detail={
                "version": price.version,
                "valid_from": timestamp(price.valid_from),
                "source": price.source,
                "before": json_of(old.get(price.model)),
                "after": json_of(price.terms),
            },
        )
    return written


def json_of(terms: Terms | None) -> dict[str, Any] | None:
    return terms.to_json() if terms else None


async def set_price(
    tx: AsyncConnection,
    catalogue: Catalogue,
    reachable: Collection[str],
    name: str,
    *,
    size: Size | None,
    quality: str | None,
    tokens: int,
    actor: Actor,
    allowed: Allowed | None = None,
    valid_from: datetime | None = None,
) -> Price:
    """Append a version of one model's price, with one number set as in `with_price`; nothing is lost to a rival."""
    await bump_version(tx, PRICES)
    current = await price_rows.load(tx, valid_from)
    proposal = propose_set(current, catalogue, name, size, quality, tokens)
    model = catalogue.find(name).model.id
    whole = proposal if proposal.terms else Proposal({model: current[model].terms}, (), {})
    return (await write(tx, catalogue, reachable, current, whole, actor, allowed or Allowed(), valid_from))[0]


async def end_price(
    tx: AsyncConnection,
    catalogue: Catalogue,
    reachable: Collection[str],
    name: str,
    *,
    actor: Actor,
    valid_from: datetime | None = None,
) -> Price:
    """From then on the model cannot be bought. Raises OperatorError when it has no price."""
    await bump_version(tx, PRICES)
    current = await price_rows.load(tx, valid_from)
    model = catalogue.find(name).model.id
    if model not in current or current[model].terms is None:
        raise OperatorError(price_rows.nothing_to_end(model))
    ending = Proposal({model: None}, (), {})
    allowed = Allowed(unpriced=True)
    return (await write(tx, catalogue, reachable, current, ending, actor, allowed, valid_from))[0]


def price_json(price: Price) -> dict[str, Any]:
    """As `prices.price_json`; `per_token` is there where the price goes by usage."""
    terms = json_of(price.terms) or {}
    usage = {"per_token": terms["per_token"]} if "per_token" in terms else {}
    return {**prices.price_json(price), **usage}
