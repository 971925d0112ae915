"""`imagegate prices preview | check | history`: what other prices would have cost, and what is wrong with these."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import EnvOption, Json, SizeOption, read_size
from imagegate.cli.prices_options import ModelName, QualityOption, read_text

if TYPE_CHECKING:
    from imagegate.admin.price_preview import Line, Preview
    from imagegate.admin.price_tools import Proposal
    from imagegate.registry import Registry


PreviewedFile = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Prices, as `import` reads them."),
]
PreviewedModel = Annotated[
    str | None, typer.Option("--set", metavar="MODEL", help="Instead of a file: one model.")
]
LiteLLM = Annotated[bool, typer.Option("--litellm", help="The file is LiteLLM's price list.")]


def preview(
    file: PreviewedFile = None,
    set_: PreviewedModel = None,
    tokens: Annotated[int | None, typer.Option(min=0, help="With --set: tokens for one image.")] = None,
    size: SizeOption = None,
    quality: QualityOption = None,
    litellm: LiteLLM = False,
    days: Annotated[int, typer.Option(min=1, max=90, help="How many days to look back.")] = 7,
    env: EnvOption = "live",
    json: Json = False,
) -> None:
    """Reckon what the last days would have cost at other prices. Nothing is changed."""
    from imagegate.admin import price_preview, price_tools

    def propose(registry: "Registry") -> "Proposal":
        current, catalogue = registry.prices.current, registry.catalogue
        if file is None and set_ is not None and tokens is not None:
            return price_tools.propose_set(current, catalogue, set_, read_size(size), quality, tokens)
        if file is None or set_ is not None or tokens is not None:
            raise typer.BadParameter("Give either a FILE, or --set MODEL with --tokens N.")
        return propose_from(registry, file, litellm)

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            current, proposal = registry.prices.current, propose(registry)
            found = await price_preview.preview(
                connection, registry.catalogue, current, proposal, days=days, env=env
            )
        show_preview(desk, found)

    run(work, json=json)


def propose_from(registry: "Registry", file: Path, litellm: bool) -> "Proposal":
    from imagegate.admin import price_tools

    current, catalogue, text = registry.prices.current, registry.catalogue, read_text(file)
    if litellm:
        return price_tools.propose_litellm(current, catalogue, registry.settings, file.name, text)
    return price_tools.propose_file(current, catalogue, file.name, text)


def show_preview(desk: Desk, found: "Preview") -> None:
    columns = ("model", "images", "charged then", "would cost", "difference", "")
    if not desk.json:
        empty = "No model whose price would change was drawn in these days."
        desk.answer_table(None, columns, [line_row(line) for line in found.lines], empty)
    would, then = found.total.would_cost_tokens, found.total.charged_tokens
    text = f"The last {found.days} days would have cost {would:,} tokens instead of {then:,}"
    desk.answer(found.to_json(), f"{text} ({signed(found.total)}).")


def signed(line: "Line") -> str:
    return f"{line.difference_tokens:+,}"


def line_row(line: "Line") -> tuple[str, ...]:
    notes = ["at most"] if line.at_most else []
    if line.refused:
        notes.append(f"{line.refused:,} images could not be bought")
    numbers = (line.images, line.charged_tokens, line.would_cost_tokens)
    return (line.model, *(f"{number:,}" for number in numbers), signed(line), ", ".join(notes))


def check(
    everything: Annotated[
        bool, typer.Option("--all", help="Also models whose providers are not configured here.")
    ] = False,
    json: Json = False,
) -> None:
    """List models without a price, at zero, or below cost. Exit code 1 when there are any."""
    from imagegate.admin import price_check

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            found = price_check.check(
                registry.catalogue,
                registry.settings,
                registry.credentials,
                registry.prices.current,
                everything=everything,
            )
        listed = [finding.to_json() for finding in found]
        columns = ("finding", "where", "price, USD", "cost, USD", "provider")
        names = ("kind", "detail", "price_usd", "cost_usd", "provider")
        rows = [tuple(finding[name] or "" for name in names) for finding in listed]
        value = {"ok": not listed, "findings": listed}
        desk.answer_table(
            value, columns, rows, "Every model that can be bought here has a price above its cost."
        )
        if listed:
            raise typer.Exit(1)

    run(work, json=json)


def history(model: ModelName, json: Json = False) -> None:
    """List every price a model has had, the newest first, and those that are still to come."""
    from imagegate.admin.price_tools import price_json
    from imagegate.catalogue import prices as price_rows

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            found = await price_rows.list_versions(connection, registry.catalogue.find(model).model.id)
            coming = {p.version for p in await price_rows.load_coming(connection) if p in found}
        listed = [{**price_json(price), "coming": price.version in coming} for price in found]
        columns = ("version", "valid from", "", "source", "reason", "actor")
        rows = [version_row(price) for price in listed]
        desk.answer_table({"prices": listed}, columns, rows, f"{model} never had a price of its own.")

    run(work, json=json)


def version_row(price: dict[str, Any]) -> tuple[str, ...]:
    state = "to come" if price["coming"] else ("ended" if price["ended"] else "")
    said = (price["source"], price["reason"], price["actor"])
    return (str(price["version"]), price["valid_from"] or "", state, *said)
