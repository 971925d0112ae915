"""The command line: one file per noun. Whatever is slow to import is imported inside the verbs."""

from typing import Annotated

import typer

from imagegate.cli import (
    accounts,
    config,
    db,
    demo,
    doctor,
    image,
    keys,
    ledger,
    models,
    prices,
    serve,
    wallets,
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
for verb in (demo.demo, serve.serve, image.image, models.models, doctor.doctor):
    app.command()(verb)
for noun in (accounts, keys, wallets, prices, ledger, db, config):
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


def main() -> None:
    """The entry point `imagegate`. Exit codes: 0 done, 1 failed, 2 wrong use."""
    app(prog_name="imagegate")
