"""`imagegate models`: what can be drawn here, by whom and for how much; and the rules an operator makes."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from imagegate.cli import models_parameters, models_preferences
from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, Reason, actor

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from imagegate.admin.models import Changed
    from imagegate.catalogue.catalogue import Catalogue
    from imagegate.identity.audit import Actor


class Listing(TyperGroup):
    """Without a verb it lists: `models`, and `models NAME` for one of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = [arg for arg in args if not arg.startswith("-")]
        asks_for_help = not words and any(arg in ctx.help_option_names for arg in args)
        if not asks_for_help and not (words and words[0] in self.commands):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="models",
    cls=Listing,
    help="Models: list them; disable, enable, redirect them, give them aliases; say which are preferred.",
    epilog="Without a verb: imagegate models [NAME] lists them all, or one by any of its names.",
)

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Any of its names.")]
AliasName = Annotated[str, typer.Argument(metavar="ALIAS", help="A name that the catalogue does not give.")]
Changing = Callable[["AsyncConnection", "Catalogue", "Actor"], Awaitable["Changed"]]


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only this model, by any of its names.")] = None,
    json: Json = False,
) -> None:
    """List the models: who sells them through this gateway, sizes, and tokens for one image."""

    async def work(desk: Desk) -> None:
        from imagegate.admin.models import model_json

        async with desk.registry() as registry:
            catalogue = registry.catalogue
            found = [catalogue.find(name).model] if name else list(catalogue.models.values())
            listed = [model_json(catalogue, registry.prices, registry.credentials, model) for model in found]
        columns = ("model", "available", "providers", "sizes", "tokens an image", "")
        desk.answer_table({"models": listed}, columns, [row_of(model) for model in listed], "")

    run(work, json=json)


@app.command()
def disable(model: ModelName, reason: Reason, json: Json = False) -> None:
    """Let nobody ask for a model. What is being made is finished and paid."""
    from imagegate.admin import models

    change(lambda tx, catalogue, by: models.disable(tx, catalogue, model, by), reason, json)


@app.command()
def enable(model: ModelName, reason: Reason, json: Json = False) -> None:
    """Let a model serve its own requests again: neither disabled nor redirected."""
    from imagegate.admin import models

    change(lambda tx, catalogue, by: models.enable(tx, catalogue, model, by), reason, json)


@app.command()
def redirect(
    model: ModelName,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Who is to serve and price its requests.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """Serve and price a model's requests as another model's."""
    from imagegate.admin import models

    change(lambda tx, catalogue, by: models.redirect(tx, catalogue, model, target, by), reason, json)


@app.command()
def alias(model: ModelName, alias: AliasName, reason: Reason, json: Json = False) -> None:
    """Give a model a further name."""
    from imagegate.admin import models

    change(lambda tx, catalogue, by: models.give_alias(tx, catalogue, model, alias, by), reason, json)


@app.command()
def unalias(alias: AliasName, reason: Reason, json: Json = False) -> None:
    """Take a name away that an operator gave."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import models
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry, registry.engine.begin() as tx:
            rule = await models.take_alias(tx, registry.catalogue, alias, Actor(actor(), reason))
        desk.answer(models.rule_json(rule), f"{alias} is no name of {rule.target} any more.")

    run(work, json=json)


@app.command()
def rules(json: Json = False) -> None:
    """List disabled and redirected models, and the aliases that operators gave."""

    async def work(desk: Desk) -> None:
        from imagegate.admin.models import rule_json

        async with desk.registry() as registry:
            listed = [rule_json(rule) for rule in registry.catalogue.rules.rules]
        columns = ("name", "rule", "model", "since", "reason", "by")
        names = ("name", "rule", "target", "at", "reason", "actor")
        rows = [tuple(rule[name] or "" for name in names) for rule in listed]
        desk.answer_table({"rules": listed}, columns, rows, "There are no rules: every model serves itself.")

    run(work, json=json)


app.command()(models_preferences.prefer)
app.command()(models_preferences.unprefer)
app.command()(models_preferences.preferences)
app.command()(models_parameters.parameters)


def change(changing: Changing, reason: str, json: bool) -> None:
    async def work(desk: Desk) -> None:
        from imagegate.admin.models import model_json
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry:
            async with registry.engine.begin() as tx:
                catalogue, model = await changing(tx, registry.catalogue, Actor(actor(), reason))
            shown = model_json(catalogue, registry.prices, registry.credentials, model)
        desk.answer(shown, f"{told(shown)}. Running gateways take it up within a second.")

    run(work, json=json)


def told(model: dict[str, Any]) -> str:
    rule, also = model["rule"], ", ".join(model["aliases"])
    said = f"{model['id']} serves its own requests"
    if model["served_by"] is None:
        said = f"{model['id']} is disabled"
    elif rule is not None:
        said = f"{model['id']} is redirected to {rule['target']}"
    return f"{said}; it is also called {also}" if also else said


def row_of(model: dict[str, Any]) -> tuple[str, ...]:
    low, high = model["price_from_tokens"], model["price_to_tokens"]
    tokens = "no price" if low is None else f"{low:,}" if low == high else f"{low:,} to {high:,}"
    sizes = ", ".join(model["sizes"][:3]) + (" …" if len(model["sizes"]) > 3 else "")
    available = "yes" if model["available"] else "no"
    return (model["id"], available, ", ".join(model["providers"]), sizes, tokens, remark(model))


def remark(model: dict[str, Any]) -> str:
    if model["served_by"] is None:
        return "disabled"
    if model["served_by"] != model["id"]:
        return f"redirected to {model['served_by']}"
    return f"retired, served by {model['successor']}" if model["retired"] else ""
