"""Alembic's way into the database: the connection it is given, or the one the environment names."""

import asyncio
import importlib
import pkgutil

from alembic import context
from sqlalchemy import Connection

import imagegate
from imagegate.db import migrate
from imagegate.db.base import metadata
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.settings import load_settings


def apply(connection: Connection) -> None:
    """`connection` is in a transaction, so Alembic begins none: all migrations happen or none does."""
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


def load_tables() -> None:
    """Every room's tables hang on `metadata` once its module is loaded; `alembic check` compares them."""
    for module in pkgutil.walk_packages(imagegate.__path__, "imagegate."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)


async def apply_to(url: str) -> None:
    engine = migrate.open_migration_engine(url)
    try:
        await migrate.with_version_lock(engine, apply)
    finally:
        await engine.dispose()


def apply_by_environment() -> None:
    settings = load_settings()
    load_tables()
    url = settings.database_direct_url or settings.database_url
    if url is not None:
        asyncio.run(apply_to(url.get_secret_value()))
        return
    with EmbeddedPostgres(settings.data_dir, print) as server:
        asyncio.run(apply_to(server.owner_url))


def print_statements() -> None:
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_statements()
elif "connection" in context.config.attributes:
    apply(context.config.attributes["connection"])
else:
    apply_by_environment()
