"""Bringing a database's schema to this program's: whole or not at all, and one process at a time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from asyncpg import InterfaceError, PostgresError
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

import imagegate
from imagegate.db.base import driver_url
from imagegate.errors import OperatorError

VERSION_TABLE = """
    CREATE TABLE IF NOT EXISTS alembic_version
        (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))
"""
LONGEST_QUEUE = "SET LOCAL lock_timeout = '10min'"
LONGEST_TABLE_WAIT = "SET LOCAL lock_timeout = '30s'"
UNREACHABLE = (DBAPIError, PostgresError, InterfaceError, OSError)

# Alembic keeps the running migration in module variables.
ONE_AT_A_TIME = threading.Lock()


def upgrade(url: str, say: Callable[[str], None], scripts: Path | None = None) -> None:
    """Migrate to the newest schema in one transaction. Blocks, also inside a loop.

    url: of the owner; where nothing is to be done any role that may read `alembic_version` will do.
    Raises OperatorError; then nothing was changed.
    """
    folder = scripts or find_scripts()
    with ONE_AT_A_TIME, ThreadPoolExecutor(1, thread_name_prefix="migrate") as thread:
        thread.submit(asyncio.run, upgrade_if_behind(url, say, folder)).result()


async def current_and_head(
    connection: AsyncConnection, scripts: Path | None = None
) -> tuple[str | None, str]:
    """The revision the database is at (None: it has no schema), and the one this program needs."""
    head = find_head(scripts or find_scripts())
    if (await connection.execute(text("SELECT to_regclass('alembic_version')::text"))).scalar() is None:
        return None, head
    current: str | None = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    return current, head


def find_scripts() -> Path:
    """In a wheel they lie in the package, in a checkout at the top."""
    package = Path(imagegate.__file__).parent
    for place in (package / "migrations", package.parent.parent / "migrations"):
        if (place / "env.py").is_file():
            return place
    raise OperatorError(
        "The migrations are missing from this installation. Next: pip install --force-reinstall"
    )


@cache
def find_head(scripts: Path) -> str:
    """The newest revision. A migration's file begins with its revision, and revisions sort as they follow.

    Alembic is not asked: loading it takes longer than all else that a warm start does with the database.
    """
    revisions = [path.stem.partition("_")[0] for path in (scripts / "versions").glob("[0-9]*.py")]
    if not revisions:
        raise OperatorError(f"There are no migrations in {scripts}.")
    return max(revisions)


async def upgrade_if_behind(url: str, say: Callable[[str], None], scripts: Path) -> None:
    engine = open_migration_engine(url)
    try:
        try:
            async with engine.connect() as connection:
                current, head = await current_and_head(connection, scripts)
        except UNREACHABLE as error:
            raise OperatorError(f"The database cannot be reached: {first_line(error)}") from error
        if current == head:
            return
        say(f"Bringing the database's schema from {current or 'nothing'} to {head}.")
        await upgrade_locked(engine, scripts)
    finally:
        await engine.dispose()


async def upgrade_locked(engine: AsyncEngine, scripts: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")

    def migrate(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        await with_version_lock(engine, migrate)
    except CommandError as error:
        raise OperatorError(
            f"The database's schema does not belong to this imagegate: {error}. It may be newer; "
            "next: pip install --upgrade imagegate"
        ) from error
    except Exception as error:
        raise OperatorError(
            f"The database's schema could not be upgraded, and nothing was changed: {first_line(error)}"
        ) from error


async def with_version_lock(engine: AsyncEngine, work: Callable[[Connection], None]) -> None:
    """Run `work` in one transaction that holds the version table: the next process waits, then finds it done.

    A table's lock, since advisory locks do not survive every pooler. Readers are not kept waiting.
    """
    await make_version_table(engine)
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text(LONGEST_QUEUE))
        await connection.execute(text("LOCK TABLE alembic_version IN SHARE ROW EXCLUSIVE MODE"))
        await connection.execute(text(LONGEST_TABLE_WAIT))
        await connection.run_sync(work)


async def make_version_table(engine: AsyncEngine) -> None:
    """Two processes making one table at once collide in the system catalogue, IF NOT EXISTS or not."""
    exists = text("SELECT to_regclass('alembic_version')::text")
    try:
        async with engine.begin() as connection:
            if (await connection.execute(exists)).scalar() is None:
                await connection.execute(text(VERSION_TABLE))
    except DBAPIError:
        async with engine.connect() as connection:
            if (await connection.execute(exists)).scalar() is None:
                raise


def open_migration_engine(url: str) -> AsyncEngine:
    """Works behind a transaction pooler too: no statement outlives its use. No statement is cut short."""
    return create_async_engine(
        driver_url(url),
        poolclass=NullPool,
        connect_args={"timeout": 10, "statement_cache_size": 0, "prepared_statement_cache_size": 0},
    )


def first_line(error: BaseException) -> str:
    """What went wrong, without the statement and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return (str(cause).splitlines() or [type(cause).__name__])[0]
