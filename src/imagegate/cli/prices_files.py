"""`imagegate prices export | import | import-litellm`: prices as files, shown as a difference before they count."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, Reason
from imagegate.cli.prices_options import (
    AllowUnpriced,
    AllowZero,
    FileName,
    ValidFrom,
    Yes,
    acting,
    agreed,
    allowing,
    moment_of,
    read_text,
    say_proposal,
    with_status,
)

if TYPE_CHECKING:
    from datetime import datetime

    from imagegate.admin.price_rules import Allowed
    from imagegate.admin.price_tools import Prices, Proposal
    from imagegate.catalogue.prices import Price
    from imagegate.identity.audit import Actor
    from imagegate.registry import Registry

Form = Annotated[Literal["csv", "yaml"], typer.Option("--format", help="How to write it.")]
Proposing = Callable[["Registry", "Prices"], "Proposal"]


def export(
    form: Form = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Into a file instead of stdout.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the prices in force, one number a row, as `import` reads them."""
    from imagegate.admin import price_tools
    from imagegate.errors import OperatorError

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            text = price_tools.export(registry.prices.current, registry.catalogue, form)
        if output is None:
            desk.answer({"format": form, "text": text}, text.rstrip("\n"))
            return
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OperatorError(f"{output} cannot be written: {error.strerror}.") from None
        models = len(registry.prices.current)
        desk.answer({"format": form, "file": str(output), "models": models}, f"{models} models: {output}")

    run(work, json=json)


def import_(
    file: FileName,
    reason: Reason,
    yes: Yes = False,
    allow_zero: AllowZero = False,
    allow_unpriced: AllowUnpriced = False,
    valid_from: ValidFrom = None,
    json: Json = False,
) -> None:
    """Show what a price file would change, and publish it once that is agreed. All of it or nothing."""
    from imagegate.admin import price_tools

    def proposing(registry: "Registry", current: "Prices") -> "Proposal":
        return price_tools.propose_file(current, registry.catalogue, file.name, read_text(file))

    take_over(proposing, reason, yes, allowing(allow_zero, allow_unpriced), moment_of(valid_from), json)


def import_litellm(
    file: FileName,
    reason: Reason,
    yes: Yes = False,
    allow_unpriced: AllowUnpriced = False,
    valid_from: ValidFrom = None,
    json: Json = False,
) -> None:
    """Show what LiteLLM's price list (a file of yours) would change, in your currency; publish it once agreed."""
    from imagegate.admin import price_tools

    def proposing(registry: "Registry", current: "Prices") -> "Proposal":
        text = read_text(file)
        return price_tools.propose_litellm(current, registry.catalogue, registry.settings, file.name, text)

    take_over(
        proposing, reason, yes, allowing(False, allow_unpriced), moment_of(valid_from), json, convert=True
    )


def take_over(
    proposing: Proposing,
    reason: str,
    yes: bool,
    allowed: "Allowed",
    valid_from: "datetime | None",
    json: bool,
    *,
    convert: bool = False,
) -> None:
    """Show a proposal, and publish it when that is agreed. convert: say how USD became tokens."""
    from imagegate.catalogue import prices as price_rows
    from imagegate.catalogue.pricing import explain_conversion
    from imagegate.identity.audit import said

    async def work(desk: Desk) -> None:
        actor = acting(said(reason))
        async with desk.registry() as registry:
            how = {"conversion": explain_conversion(registry.settings)} if convert else {}
            for line in how.values():
                desk.say(line)
            async with registry.engine.connect() as connection:
                current = await price_rows.load(connection, valid_from)
            proposal = proposing(registry, current)
            say_proposal(desk, proposal)
            published = await publish_agreed(
                desk, registry, current, proposal, actor, yes, allowed, valid_from
            )
        desk.answer({**with_status(proposal, published), **how}, outcome(proposal, published))

    run(work, json=json)


async def publish_agreed(
    desk: Desk,
    registry: "Registry",
    current: "Prices",
    proposal: "Proposal",
    actor: "Actor",
    yes: bool,
    allowed: "Allowed",
    valid_from: "datetime | None",
) -> "list[Price]":
    """What is not allowed is said before anybody is asked to agree."""
    from imagegate.admin import price_tools
    from imagegate.admin.price_rules import guard

    catalogue, reachable = registry.catalogue, registry.credentials
    guard(catalogue, reachable, price_tools.terms_in(current), proposal.terms, allowed)
    if not agreed(desk, proposal, yes):
        return []
    async with registry.engine.begin() as tx:
        return await price_tools.publish(
            tx, catalogue, reachable, proposal, actor, allowed=allowed, valid_from=valid_from
        )


def outcome(proposal: "Proposal", published: "list[Price]") -> str:
    if not proposal.changes:
        return "Every price is as the file says. Nothing to change."
    if not published:
        return "Nothing was changed. Publish it: the same command with --yes"
    return f"{len(published)} models have new prices. Running gateways take them up within a second."
