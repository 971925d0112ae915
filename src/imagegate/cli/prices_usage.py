"""`imagegate prices set-usage`: a price by what a provider counts, instead of a table."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.options import Json, Reason
from imagegate.cli.prices_files import take_over
from imagegate.cli.prices_options import (
    AllowUnpriced,
    AllowZero,
    ModelName,
    ValidFrom,
    Yes,
    allowing,
    moment_of,
)

if TYPE_CHECKING:
    from imagegate.admin.price_tools import Prices, Proposal
    from imagegate.catalogue.terms import Cell
    from imagegate.registry import Registry


def a_bound(texts: list[str]) -> list[str]:
    for text in texts:
        read_bound(text)
    return texts


def read_bound(text: str) -> "tuple[Cell, int]":
    """`1024x1024:high=4160`, `any:high=…`, `1024x1024=…`, `any=…`. Raises BadParameter."""
    from imagegate.domain import Size

    match = re.fullmatch(r"([^:=]+)(?::([a-z]+))?=([0-9]{1,12})", text)
    size = Size.parse(match[1]) if match else None
    if match is None or (size is None and match[1] != "any"):
        raise typer.BadParameter(f"{text!r} is no bound: write 1024x1024:high=4160, or any=4160.")
    quality = None if match[2] == "any" else match[2]
    return (size, quality), int(match[3])


def rate(what: str) -> Any:
    return typer.Option(min=0, max=10**12, help=f"Tokens for a million of the provider's own: {what}.")


def bound_of(what: str, least: int) -> Any:
    return typer.Option(min=least, max=10**9, help=f"The provider's own tokens of {what} at most.")


Bounds = Annotated[
    list[str],
    typer.Option(
        metavar="WxH:QUALITY=N",
        callback=a_bound,
        help="The provider's own tokens of one picture at most; once for each size and quality.",
    ),
]


def set_usage(
    model: ModelName,
    text_in: Annotated[int, rate("text read")],
    image_in: Annotated[int, rate("input images read")],
    output: Annotated[int, rate("what is drawn")],
    prompt_bound: Annotated[int, bound_of("one prompt", 1)],
    bound: Bounds,
    reason: Reason,
    input_image_bound: Annotated[int, bound_of("one input image; 0: it takes none", 0)] = 0,
    yes: Yes = False,
    allow_zero: AllowZero = False,
    allow_unpriced: AllowUnpriced = False,
    valid_from: ValidFrom = None,
    json: Json = False,
) -> None:
    """Let a model's price go by usage. The hold is the most it can cost; the debit is what the provider counted."""
    from imagegate.admin import price_tools
    from imagegate.catalogue.terms import PerToken
    from imagegate.domain import UsageRates

    rates = UsageRates(text_in, image_in, output)
    usage = PerToken(rates, dict(read_bound(text) for text in bound), prompt_bound, input_image_bound)

    def proposing(registry: "Registry", current: "Prices") -> "Proposal":
        return price_tools.propose_usage(current, registry.catalogue, model, usage)

    take_over(proposing, reason, yes, allowing(allow_zero, allow_unpriced), moment_of(valid_from), json)
