"""The command line: one file per noun. Whatever is slow to import is imported inside the verbs."""

from collections.abc import Callable
from functools import cache
from typing import Annotated

import typer

from imagegate.cli import (
    accounts,
    allowances,
    audit,
    completion,
    config,
    console,
    db,
    demo,
    doctor,
    edit,
    estimate,
    generations,
    image,
    keys,
    ledger,
    limits,
    models,
    openapi,
    operators,
    prices,
    providers,
    reference,
    request,
    secret,
    serve,
    tail,
    usage,
    wallets,
    webhooks,
)
from imagegate.cli.options import Json

app = typer.Typer(
    name="imagegate",
    help="One OpenAI-compatible endpoint in front of every image model, with a wallet that can be proved.",
    epilog="Begin with: imagegate demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    demo.demo,
    serve.serve,
    image.image,
    edit.edit,
    estimate.estimate,
    request.request,
    usage.usage,
    doctor.doctor,
    openapi.openapi,
)
for verb in VERBS:
    app.command()(verb)
app.command(hidden=True)(reference.reference)
NOUNS = (
    models,
    providers,
    accounts,
    keys,
    limits,
    wallets,
    allowances,
    prices,
    generations,
    tail,
    webhooks,
    operators,
    console,
    secret,
    audit,
    ledger,
    db,
    config,
    completion,
)
for noun in NOUNS:
    app.add_typer(noun.app)


def show_version(wanted: bool) -> None:
    if wanted:
        from imagegate import __version__

        typer.echo(f"imagegate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    json: Json = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@cache
def command() -> Callable[..., object]:
    """The verbs, built from their signatures."""
    return typer.main.get_command(app)


def main() -> None:
    """The entry point `imagegate`. Exit codes: 0 done, 1 failed, 2 wrong use."""
    command()(prog_name="imagegate")
