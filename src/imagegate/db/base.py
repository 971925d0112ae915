"""The engine, and the metadata that every room's tables hang on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import MetaData, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from imagegate.settings import Settings

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def open_engine(url: str, settings: Settings, *, statement_timeout_s: float | None = None) -> AsyncEngine:
    """An engine over asyncpg. Behind a transaction pooler it prepares nothing and names no statement.

    statement_timeout_s: instead of IMAGEGATE_DATABASE_TIMEOUT_S, for work that may take minutes.
    """
    options: dict[str, object] = {
        "timeout": settings.database_timeout_s,
        "command_timeout": statement_timeout_s or settings.database_timeout_s,
    }
    if settings.database_pooler:
        options |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    return create_async_engine(
        driver_url(url),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_timeout_s,
        hide_parameters=True,  # an error names the statement, and not the prompts that it carries
        connect_args=options,
    )


def driver_url(url: str) -> URL:
    """A PostgreSQL URL for asyncpg. libpq's `sslmode`, which managed databases write into theirs, is `ssl` there."""
    place = make_url(url).set(drivername="postgresql+asyncpg")
    mode = place.query.get("sslmode")
    return place.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode}) if mode else place


LOST = (OSError, TimeoutError, asyncpg.InternalClientError)
"""Outside SQLAlchemy's own errors: the last one asyncpg raises when a connection breaks in the middle of its work."""
READ_ONLY = "25006"
"""SQLSTATE of a write at a server that takes none: one that was demoted, a standby, one whose disk is full."""


def is_gone(error: BaseException) -> bool:
    """True when the database cannot be reached, takes no writes, or broke off: then nobody can say what it did."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        return error.connection_invalidated or state[:2] in ("08", "57", "53") or state in ("", READ_ONLY)
    return isinstance(error, (*LOST, PoolTimeout))


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One REPEATABLE READ, READ ONLY transaction: every statement in it sees the same moment."""
    async with engine.connect() as connection, connection.begin():
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield connection
