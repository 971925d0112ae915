"""`imagegate db`: the database itself."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from imagegate.cli import db_backup, db_export, db_rollup
from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json

app = typer.Typer(
    name="db",
    help="The database: upgrade it, back it up and restore it, export tables, sum usage up, look into it.",
    no_args_is_help=True,
)
app.command()(db_backup.backup)
app.command()(db_backup.restore)
app.command()(db_export.export)
app.command()(db_rollup.rollup)


@app.command()
def upgrade(json: Json = False) -> None:
    """Bring the schema up to date. The embedded database is brought up to date whenever it is opened, too."""
    import asyncio

    from imagegate.db.migrate import upgrade as migrate
    from imagegate.registry import open_database

    async def work(desk: Desk) -> None:
        settings = desk.settings()
        with desk.progress("Upgrading the database"):
            async with open_database(settings, desk.say) as urls:
                await asyncio.to_thread(migrate, urls.owner, desk.say)
        desk.answer({"status": "current", "embedded": settings.embedded}, "The schema is up to date.")

    run(work, json=json)


@app.command()
def shell(
    command: Annotated[str | None, typer.Option("-c", metavar="SQL", help="Run this and leave.")] = None,
    json: Json = False,
) -> None:
    """Open psql as the owner of the tables. Careful: nothing stands between you and the wallets."""
    import asyncio

    from imagegate.db.pgbinaries import psql_command
    from imagegate.registry import open_database

    async def work(desk: Desk) -> None:
        async with open_database(desk.settings(), desk.say) as urls:
            argv, secret = psql_command(urls.owner)
            wanted = ["-X", "-v", "ON_ERROR_STOP=1", "-c", command] if command is not None else []
            with left_to_psql():
                code = await asyncio.to_thread(run_psql, [*argv, *wanted], os.environ | dict(secret))
        if code:
            raise typer.Exit(1)

    run(work, json=json)


@contextmanager
def left_to_psql() -> Iterator[None]:
    """Ctrl-C cancels psql's statement and not us. A handler, since psql would inherit that we ignore the signal."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_psql(argv: list[str], environment: dict[str, str]) -> int:
    return subprocess.run(argv, env=environment, check=False).returncode
