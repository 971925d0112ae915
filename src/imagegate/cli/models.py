"""`imagegate models`: what can be drawn here, by whom and for how much."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json

if TYPE_CHECKING:
    from imagegate.domain import Model
    from imagegate.registry import Registry


def models(
    name: Annotated[str | None, typer.Argument(help="Only this model, by any of its names.")] = None,
    json: Json = False,
) -> None:
    """List the models: who sells them through this gateway, sizes, and tokens for one image."""

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            catalogue = registry.catalogue
            found = [catalogue.find(name).model] if name else list(catalogue.models.values())
            listed = [described(registry, model) for model in found]
        columns = ("model", "available", "providers", "sizes", "tokens an image", "")
        desk.answer_table({"models": listed}, columns, [row_of(model) for model in listed], "")

    run(work, json=json)


def described(registry: "Registry", model: "Model") -> dict[str, Any]:
    """`providers` are those that sell it; `available`: one of them is configured, and it has a price."""
    from imagegate.registry import credentials_for

    configured = credentials_for(registry.catalogue, registry.settings)
    providers = list(dict.fromkeys(offering.provider for offering in model.offerings))
    price = price_range(registry, model)
    return {
        "id": model.id,
        "available": price is not None and any(provider in configured for provider in providers),
        "providers": providers,
        "configured_providers": [provider for provider in providers if provider in configured],
        "sizes": [str(size) for size in model.sizes],
        "qualities": list(model.qualities),
        "price_from_tokens": price[0] if price else None,
        "price_to_tokens": price[1] if price else None,
        "retired": registry.catalogue.entries[model.id].retired,
        "successor": model.successor,
        "shutdown_date": model.shutdown_date,
    }


def price_range(registry: "Registry", model: "Model") -> tuple[int, int] | None:
    """The cheapest and the dearest image in the model's own sizes and qualities; None: it has no price."""
    from imagegate.errors import InvalidRequest, Unpriced

    try:
        price = registry.prices.find(model, registry.catalogue)
    except Unpriced:
        return None
    found = []
    for size in model.sizes or (model.default_size,):
        for quality in model.qualities or (None,):
            try:
                found.append(price.quote(model=model.id, size=size, quality=quality, n=1).hold_tokens)
            except (InvalidRequest, Unpriced):
                continue
    return (min(found), max(found)) if found else None


def row_of(model: dict[str, Any]) -> tuple[str, ...]:
    low, high = model["price_from_tokens"], model["price_to_tokens"]
    tokens = "no price" if low is None else f"{low:,}" if low == high else f"{low:,} to {high:,}"
    sizes = ", ".join(model["sizes"][:3]) + (" …" if len(model["sizes"]) > 3 else "")
    available = "yes" if model["available"] else "no"
    retired = f"retired, served by {model['successor']}" if model["retired"] else ""
    return (model["id"], available, ", ".join(model["providers"]), sizes, tokens, retired)
