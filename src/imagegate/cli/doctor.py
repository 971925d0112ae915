"""`imagegate doctor`: what works here, what does not, and the next command; of one generation: why it failed."""

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from imagegate.cli.checks import Check, answer_checks, check_data_dir, check_disk, check_port, check_variables
from imagegate.cli.checks_database import Kept, check_database
from imagegate.cli.checks_providers import check_base_urls, check_providers
from imagegate.cli.checks_running import check_redis, check_running
from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json
from imagegate.errors import OperatorError


def doctor(
    generation: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="gen_…: why it ended as it did, and what to do.")
    ] = None,
    json: Json = False,
) -> None:
    """Check settings, database, secret, store, providers and what waits; exit 1 if one fails. With ID: a generation.

    The exit code for a generation is 0 whatever became of it; 1 when there is none of that id.
    """
    if generation is not None:
        from imagegate.cli.doctor_generation import explain

        explain(generation, json)
        return

    async def work(desk: Desk) -> None:
        with desk.progress("Looking"):
            found = [check async for check in all_checks(desk)]
        answer_checks(desk, found)

    run(work, json=json)


async def all_checks(desk: Desk) -> AsyncIterator[Check]:
    """What depends on something that failed is left out."""
    for check in check_variables():
        yield check
    try:
        settings = desk.settings()
    except OperatorError as error:
        yield Check("settings", "fail", error.message, "correct them, then: imagegate config show")
        return
    yield Check("settings", "ok", "valid")
    folder = check_data_dir(settings)
    yield folder
    kept = Kept()
    if folder.state != "fail":
        yield check_disk(settings)
        async for check in check_database(desk, settings, kept, check_running):
            yield check
    yield await check_redis(settings)
    for check in [*check_providers(settings, kept), *check_base_urls(settings)]:
        yield check
    yield check_port(settings)
