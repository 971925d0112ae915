"""`imagegate prices`: what images cost, dated and never overwritten."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, Reason, SizeOption, actor, read_size

if TYPE_CHECKING:
    from imagegate.catalogue.prices import Price

app = typer.Typer(name="prices", help="Prices: list, set, end.", no_args_is_help=True)

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Any of its names.")]


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Only of this model.")] = None,
    json: Json = False,
) -> None:
    """List the prices in force, in tokens for one image."""
    from imagegate.admin import operations

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            found = operations.list_prices(registry.catalogue, registry.prices, model)
            listed = [operations.price_json(price) for price in found]
        rows = [row for price in listed for row in rows_of(price)]
        columns = ("model", "version", "size", "quality", "tokens", "since", "reason")
        empty = f"{model} has no price. Set one: imagegate prices set {model} --tokens N --reason TEXT"
        desk.answer_table({"prices": listed}, columns, rows, empty)

    run(work, json=json)


@app.command("set")
def set_(
    model: ModelName,
    tokens: Annotated[int, typer.Option(min=0, help="Tokens for one image.")],
    reason: Reason,
    size: SizeOption = None,
    quality: Annotated[
        str | None,
        typer.Option("--quality", "-q", help="low, medium (standard), high (hd) …; without it every one."),
    ] = None,
    json: Json = False,
) -> None:
    """Set a price, from now on. Without size and quality: one price for every picture."""
    from imagegate.admin import operations

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            price = await operations.set_price(
                tx,
                registry.catalogue,
                model,
                size=read_size(size),
                quality=quality,
                tokens=tokens,
                reason=reason,
                actor=actor(),
            )
        answer(desk, price, f"{price.model} has a new price, version {price.version}.")

    run(work, json=json)


@app.command()
def end(model: ModelName, reason: Reason, json: Json = False) -> None:
    """End a model's price. From now on it cannot be bought, until a price is set again."""
    from imagegate.admin import operations

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            price = await operations.end_price(tx, registry.catalogue, model, reason=reason, actor=actor())
        answer(desk, price, f"{price.model} has no price any more (version {price.version}).")

    run(work, json=json)


def answer(desk: Desk, price: "Price", text: str) -> None:
    from imagegate.admin.operations import price_json

    desk.answer(price_json(price), f"{text} Running gateways take it up within a second.")


def rows_of(price: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row a cell of the price table."""
    model, version, why = price["model"], str(price["version"]), (price["valid_from"] or "", price["reason"])
    if price["ended"]:
        return [(model, version, "", "", "ended", *why)]
    rows: list[tuple[str, ...]] = [
        (model, version, cell["size"] or "any", cell["quality"] or "any", f"{cell['tokens']:,}", *why)
        for cell in price["prices"]
    ]
    if rule := price["per_megapixel"]:
        tokens = f"{rule['first_tokens']:,} + {rule['extra_tokens']:,} each further"
        rows.append((model, version, "by megapixel", "any", tokens, *why))
    return rows
