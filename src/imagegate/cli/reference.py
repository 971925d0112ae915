"""`imagegate reference`: pages of the documentation, written from the code. `make docs` puts them in place."""

from typing import Annotated, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json

Page = Literal["settings", "cli", "errors", "http"]


def reference(
    page: Annotated[Page, typer.Argument(metavar="PAGE", help="settings, cli, errors or http.")],
    json: Json = False,
) -> None:
    """Print a page of the reference as Markdown: what is in docs/reference, written from the code."""

    async def work(desk: Desk) -> None:
        text = write_page(page)
        desk.answer({"page": page, "markdown": text}, text.rstrip("\n"))

    run(work, json=json)


def write_page(page: Page) -> str:
    from imagegate.cli import reference_routes, reference_tables, reference_verbs

    match page:
        case "settings":
            return reference_tables.settings()
        case "errors":
            return reference_tables.errors()
        case "cli":
            return reference_verbs.verbs()
        case "http":
            return reference_routes.routes()
