"""What an operator does to models: disable, enable, redirect, give and take aliases; and how a model is shown.

Each change takes a transaction and records itself. Again is no error: then nothing is changed and nothing recorded.
Gives the catalogue as it is after the change, and the model. All raise UnknownModel and InvalidRequest.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.catalogue import rule_rows
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import Price, PriceBook
from imagegate.catalogue.rules import Rule, RuleBook, RuleKind
from imagegate.domain import Model
from imagegate.errors import InvalidRequest, NotFound, UnknownModel, Unpriced
from imagegate.identity.audit import Actor, record, said

ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
MOST_ALIASES = 1000
RESERVED = ("auto",)

Changed = tuple[Catalogue, Model]


async def disable(tx: AsyncConnection, catalogue: Catalogue, name: str, actor: Actor) -> Changed:
    """Nobody may ask for the model any more, nor for retired ones that it serves. What is being made is finished."""
    under = await rule_rows.changing(tx, catalogue)
    model = get_model(under, name)
    return await put(tx, under, model, "models.disable", model.id, "disabled", None, actor), model


async def enable(tx: AsyncConnection, catalogue: Catalogue, name: str, actor: Actor) -> Changed:
    """The model serves its own requests again: it is neither disabled nor redirected."""
    under = await rule_rows.changing(tx, catalogue)
    model = get_model(under, name)
    rule = under.rules.find(model.id)
    return await take(tx, under, rule, "models.enable", model.id, actor), model


async def redirect(
    tx: AsyncConnection, catalogue: Catalogue, name: str, target: str, actor: Actor
) -> Changed:
    """The model's requests are served and priced as `target`'s, another model that is not disabled."""
    under = await rule_rows.changing(tx, catalogue)
    model, other = get_model(under, name), get_model(under, target, "target")
    if model.id == other.id:
        raise InvalidRequest(f"{model.id} cannot be redirected to itself.", param="target")
    kept = [rule for rule in under.rules.rules if rule.name != model.id]
    trial = Rule(model.id, "redirect", other.id, actor.reason, actor.name, datetime.now(UTC))
    try:
        RuleBook([*kept, trial]).follow(model.id, catalogue.entries)
    except UnknownModel as error:
        text = f"{model.id} cannot be redirected to {other.id}: {error.message}"
        raise InvalidRequest(text, param="target") from None
    return await put(tx, under, model, "models.redirect", model.id, "redirect", other.id, actor), model


async def give_alias(
    tx: AsyncConnection, catalogue: Catalogue, name: str, alias: str, actor: Actor
) -> Changed:
    """A further name of the model; one that another model has from an operator becomes this one's."""
    check_alias(catalogue, alias)
    under = await rule_rows.changing(tx, catalogue)
    model = get_model(under, name)
    if alias not in under.rules.aliases and len(under.rules.aliases) >= MOST_ALIASES:
        raise InvalidRequest(f"There are {MOST_ALIASES} aliases already. Take one away first.", param="alias")
    return await put(tx, under, model, "models.alias", alias, "alias", model.id, actor), model


async def take_alias(tx: AsyncConnection, catalogue: Catalogue, alias: str, actor: Actor) -> Rule:
    """The alias is no name any more. Gives what it was. Raises NotFound for one that no operator gave."""
    under = await rule_rows.changing(tx, catalogue)
    rule = under.rules.aliases.get(alias)
    if rule is None:
        raise NotFound("No operator gave an alias of this name. List them: imagegate models rules")
    await take(tx, under, rule, "models.unalias", alias, actor)
    return rule


def check_alias(catalogue: Catalogue, alias: str) -> None:
    """Raises InvalidRequest for what is no name, or one that the catalogue has given already."""
    if not ALIAS.fullmatch(alias) or alias.casefold() in RESERVED:
        text = "An alias has 1 to 100 characters of A-Z a-z 0-9 . _ / - and begins with a letter or digit"
        raise InvalidRequest(f"{text}; `auto` is none.", param="alias")
    names = catalogue.names
    if known := names.exact.get(alias) or names.folded.get(alias.casefold()):
        text = f"{alias} is a name of {known[0]} already. Redirect that model, or choose another alias."
        raise InvalidRequest(text, param="alias")


def get_model(catalogue: Catalogue, name: str, param: str = "model") -> Model:
    """A model by any of its names; a rule is for all who sell it, so no provider can be named with it."""
    try:
        match = catalogue.find(name)
    except UnknownModel as error:
        error.param = param
        raise
    if match.forced_provider is not None:
        text = f"A rule is for a model, whoever sells it. Name it without a provider: {match.model.id}"
        raise InvalidRequest(text, param=param)
    return match.model


async def put(
    tx: AsyncConnection,
    under: Catalogue,
    model: Model,
    action: str,
    name: str,
    kind: RuleKind,
    target: str | None,
    actor: Actor,
) -> Catalogue:
    """Make this the rule of `name`, a model's id or an alias."""
    before = under.rules.aliases.get(name) if kind == "alias" else under.rules.find(name)
    if before is not None and (before.kind, before.target) == (kind, target):
        return under
    await rule_rows.write(tx, name, kind, target, said(actor.reason), actor.name)
    after = {"rule": kind, "target": target}
    await record(tx, actor, action, name, detail={"before": told(before), "after": after, "model": model.id})
    return await rule_rows.under_rules(tx, under)


async def take(
    tx: AsyncConnection, under: Catalogue, rule: Rule | None, action: str, name: str, actor: Actor
) -> Catalogue:
    if rule is None:
        return under
    await rule_rows.remove(tx, rule.name)
    await record(tx, actor, action, name, detail={"before": told(rule), "after": None})
    return await rule_rows.under_rules(tx, under)


def told(rule: Rule | None) -> dict[str, Any] | None:
    return {"rule": rule.kind, "target": rule.target} if rule else None


def rule_json(rule: Rule) -> dict[str, Any]:
    """`name`: a model's id, or the alias. `target`: null where the model is disabled."""
    return {
        "name": rule.name,
        "rule": rule.kind,
        "target": rule.target,
        "reason": rule.reason,
        "actor": rule.actor,
        "at": timestamp(rule.at),
    }


def model_json(
    catalogue: Catalogue, book: PriceBook, configured: Collection[str], model: Model
) -> dict[str, Any]:
    """What a request for the model gets. `served_by`: the model that serves and prices it; null: it is disabled.

    `providers` are those that sell it; `available`: one of them is in `configured`, and it has a price.
    """
    rule = catalogue.rules.find(model.id)
    served = find_served(catalogue, model)
    shown = served or model
    providers = list(dict.fromkeys(offering.provider for offering in shown.offerings))
    price = find_price(book, catalogue, shown)
    range_ = price_range(price, shown) if price else None
    return {
        "id": model.id,
        "rule": rule_json(rule) if rule else None,
        "served_by": served.id if served else None,
        "aliases": catalogue.rules.aliases_of(model.id),
        "available": served is not None and range_ is not None and any(p in configured for p in providers),
        "providers": providers,
        "configured_providers": [provider for provider in providers if provider in configured],
        "sizes": [str(size) for size in shown.sizes],
        "qualities": list(shown.qualities),
        "price_from_tokens": range_[0] if range_ else None,
        "price_to_tokens": range_[1] if range_ else None,
        "price_version": price.version if price else None,
        "retired": catalogue.entries[model.id].retired,
        "successor": model.successor,
        "shutdown_date": model.shutdown_date,
    }


def find_served(catalogue: Catalogue, model: Model) -> Model | None:
    try:
        return catalogue.served(model)
    except UnknownModel:
        return None


def find_price(book: PriceBook, catalogue: Catalogue, model: Model) -> Price | None:
    try:
        return book.find(model, catalogue)
    except Unpriced:
        return None


def price_range(price: Price, model: Model) -> tuple[int, int] | None:
    """The cheapest and the dearest image in the model's own sizes and qualities; None: none of them has a price."""
    found = []
    for size in model.sizes or (model.default_size,):
        for quality in model.qualities or (None,):
            try:
                found.append(price.quote(model=model.id, size=size, quality=quality, n=1).hold_tokens)
            except (InvalidRequest, Unpriced):
                continue
    return (min(found), max(found)) if found else None
