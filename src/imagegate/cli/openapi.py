"""`imagegate openapi`: the description of the HTTP API, without a server."""

from pathlib import Path
from typing import Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json
from imagegate.errors import OperatorError


def openapi(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ] = None,
    json: Json = False,
) -> None:
    """Print the OpenAPI description of every route, as GET /openapi.json answers it."""

    async def work(desk: Desk) -> None:
        from pydantic_core import to_json

        from imagegate.app import create_app

        described = create_app(desk.settings()).api.openapi()
        text = to_json(described, indent=2).decode()
        if output is None:
            desk.answer(described, text)
            return
        try:
            output.write_text(text + "\n")
        except OSError as error:
            raise OperatorError(
                f"{output} cannot be written: {error.strerror}. Choose another -o FILE."
            ) from None
        paths = len(described["paths"])
        desk.answer(
            {"path": str(output), "paths": paths}, f"{output}: {paths} paths, OpenAPI {described['openapi']}"
        )

    run(work, json=json)
