"""`imagegate prices`: what images cost, dated and never overwritten."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli import prices_files, prices_looks, prices_usage
from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, Reason, SizeOption, read_size
from imagegate.cli.prices_options import (
    AllowUnpriced,
    AllowZero,
    ModelName,
    QualityOption,
    ValidFrom,
    acting,
    allowing,
    moment_of,
)

if TYPE_CHECKING:
    from imagegate.catalogue.prices import Price
    from imagegate.registry import Registry

app = typer.Typer(
    name="prices", help="Prices: list, set, end, files, previews, checks.", no_args_is_help=True
)


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Only of this model.")] = None,
    json: Json = False,
) -> None:
    """List the prices in force, in tokens for one image."""
    from imagegate.admin.price_tools import price_json
    from imagegate.admin.prices import list_prices

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            found = list_prices(registry.catalogue, registry.prices, model)
            listed = [price_json(price) for price in found]
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
    quality: QualityOption = None,
    valid_from: ValidFrom = None,
    allow_zero: AllowZero = False,
    allow_unpriced: AllowUnpriced = False,
    json: Json = False,
) -> None:
    """Set a price, at once or from a day on. Without size and quality: one price for every picture."""
    from imagegate.admin import price_tools

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            async with registry.engine.begin() as tx:
                price = await price_tools.set_price(
                    tx,
                    registry.catalogue,
                    registry.credentials,
                    model,
                    size=read_size(size),
                    quality=quality,
                    tokens=tokens,
                    actor=acting(reason),
                    allowed=allowing(allow_zero, allow_unpriced),
                    valid_from=moment_of(valid_from),
                )
            await say_coming(desk, registry, price)
        answer(desk, price, f"{price.model} has a new price, version {price.version}.")

    run(work, json=json)


@app.command()
def end(model: ModelName, reason: Reason, valid_from: ValidFrom = None, json: Json = False) -> None:
    """End a model's price. From then on it cannot be bought, until a price is set again."""
    from imagegate.admin import price_tools

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            async with registry.engine.begin() as tx:
                price = await price_tools.end_price(
                    tx,
                    registry.catalogue,
                    registry.credentials,
                    model,
                    actor=acting(reason),
                    valid_from=moment_of(valid_from),
                )
            await say_coming(desk, registry, price)
        answer(desk, price, f"{price.model} has no price any more (version {price.version}).")

    run(work, json=json)


app.command("set-usage")(prices_usage.set_usage)
app.command("export")(prices_files.export)
app.command("import")(prices_files.import_)
app.command("import-litellm")(prices_files.import_litellm)
app.command("preview")(prices_looks.preview)
app.command("check")(prices_looks.check)
app.command("history")(prices_looks.history)


async def say_coming(desk: Desk, registry: "Registry", written: "Price") -> None:
    """A dated price was worked out before this change and will replace it: whoever changes prices must know."""
    from imagegate.admin.moments import timestamp
    from imagegate.catalogue.prices import load_coming

    async with registry.engine.connect() as connection:
        coming = await load_coming(connection)
    for price in coming:
        if price.model == written.model and price.version != written.version:
            at = timestamp(price.valid_from)
            desk.say(
                f"Version {price.version} of this price is to begin at {at}; it does not know this change."
            )


def answer(desk: Desk, price: "Price", text: str) -> None:
    from datetime import UTC, datetime

    from imagegate.admin.price_tools import price_json

    begins = price_json(price)
    dated = price.valid_from > datetime.now(UTC)
    when = (
        f"It begins at {begins['valid_from']}." if dated else "Running gateways take it up within a second."
    )
    desk.answer(begins, f"{text} {when}")


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
    if (partial := price["per_partial"]) is not None:
        rows.append((model, version, "preview", "any", f"{partial:,}", *why))
    if usage := price.get("per_token"):
        rates = " / ".join(f"{usage[name]:,}" for name in ("text_in", "image_in", "output"))
        rows.append((model, version, "by usage", "any", f"{rates} a million (text, image in; out)", *why))
    return rows
