"""`imagegate models prefer`, `unprefer`, `preferences`: whom the policies `best` and `balanced` take."""

from typing import Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, Reason, actor

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Any of its names.")]
Provider = Annotated[
    str | None, typer.Option(help="Of this provider's offering. Without it: of the model, among models.")
]
Rank = Annotated[int | None, typer.Option(help="For the policy best: 1 to 10000, 1 is the best.")]
Weight = Annotated[
    int | None, typer.Option(help="For the policy balanced: 0 to 10000, its share; 0 = only in need.")
]
SOON = "Running gateways take it up within a second."


def prefer(
    model: ModelName,
    reason: Reason,
    provider: Provider = None,
    rank: Rank = None,
    weight: Weight = None,
    json: Json = False,
) -> None:
    """Give a provider's offering of a model, or a model among models, a rank or a weight."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import preferences
        from imagegate.identity.audit import Actor

        by = Actor(actor(), reason)
        async with desk.registry() as registry, registry.engine.begin() as tx:
            made = await preferences.prefer(tx, registry.catalogue, model, provider, rank, weight, by)
        shown = preferences.preference_json(made)
        desk.answer(shown, f"{place(shown)}: {told(shown)}. {SOON}")

    run(work, json=json)


def unprefer(model: ModelName, reason: Reason, provider: Provider = None, json: Json = False) -> None:
    """Take a preference back: the catalogue's rank and weight count again."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import preferences
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry, registry.engine.begin() as tx:
            was = await preferences.unprefer(tx, registry.catalogue, model, provider, Actor(actor(), reason))
        shown = preferences.preference_json(was)
        desk.answer(shown, f"{place(shown)}: the catalogue counts again. {SOON}")

    run(work, json=json)


def preferences(json: Json = False) -> None:
    """List what operators prefer, over the catalogue's own ranks and weights."""

    async def work(desk: Desk) -> None:
        from imagegate.admin.preferences import preference_json

        async with desk.registry() as registry:
            listed = [preference_json(known) for known in registry.catalogue.preferences.preferences]
        columns = ("model", "provider", "rank", "weight", "since", "reason", "by")
        names = ("model", "provider", "rank", "weight", "at", "reason", "actor")
        rows = [tuple("" if known[name] is None else str(known[name]) for name in names) for known in listed]
        nothing = "Nothing is preferred: the catalogue's ranks and weights count."
        desk.answer_table({"preferences": listed}, columns, rows, nothing)

    run(work, json=json)


def place(shown: dict[str, Any]) -> str:
    return f"{shown['model']} by {shown['provider']}" if shown["provider"] else f"{shown['model']}"


def told(shown: dict[str, Any]) -> str:
    said = [f"{name} {shown[name]}" for name in ("rank", "weight") if shown[name] is not None]
    return ", ".join(said)
