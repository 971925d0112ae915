"""The registry: the database and what stands in it, without the network and the image store. Quick to open."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.catalogue import prices as price_rows
from imagegate.catalogue import rule_rows
from imagegate.catalogue.catalogue import Catalogue, load_catalogue
from imagegate.catalogue.prices import PriceBook
from imagegate.db.base import open_engine
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import current_and_head, upgrade
from imagegate.db.watch import watching
from imagegate.domain import Credential
from imagegate.errors import OperatorError
from imagegate.identity.secret import Keyring, check_fingerprint, load_master
from imagegate.settings import Settings


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """`alone_since`: when we came to an embedded server that nobody else was using; else None."""

    app: str
    owner: str
    alone_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """What an operator's verb needs. `Services` is built on it."""

    settings: Settings
    engine: AsyncEngine
    keyring: Keyring
    catalogue: Catalogue
    prices: PriceBook
    alone_since: datetime | None = None


@asynccontextmanager
async def open_database(settings: Settings, say: Callable[[str], None]) -> AsyncIterator[DatabaseUrls]:
    """The database's URLs. Without IMAGEGATE_DATABASE_URL the embedded server runs as long as this is open.

    Killed meanwhile, it is started again.
    """
    if settings.database_url is not None:
        app = settings.database_url.get_secret_value()
        direct = settings.database_direct_url
        yield DatabaseUrls(app=app, owner=direct.get_secret_value() if direct else app)
        return
    server, came_at = EmbeddedPostgres(settings.data_dir, say), datetime.now(UTC)
    await asyncio.to_thread(server.__enter__)
    try:
        await asyncio.to_thread(upgrade, server.owner_url, say)
        async with watching(server):
            yield DatabaseUrls(server.app_url, server.owner_url, came_at if server.sole_user else None)
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


@asynccontextmanager
async def open_registry(
    settings: Settings, say: Callable[[str], None] = lambda line: None
) -> AsyncIterator[Registry]:
    """Open the database and what stands in it. Raises OperatorError for what an operator can mend."""
    async with open_database(settings, say) as urls:
        engine = open_engine(urls.app, settings)
        try:
            keyring = Keyring.derive(load_master(settings))
            catalogue = load_catalogue(settings.catalogue_file)
            prices = await prepare_database(engine, settings, keyring, catalogue)
            yield Registry(settings, engine, keyring, catalogue, prices, urls.alone_since)
        finally:
            await engine.dispose()


async def prepare_database(
    engine: AsyncEngine, settings: Settings, keyring: Keyring, catalogue: Catalogue
) -> PriceBook:
    """Check that the secret is the database's own, and price what has no price yet."""
    try:
        async with engine.begin() as tx:
            await check_schema(tx)
            await check_fingerprint(tx, keyring)
            await price_rows.seed(tx, catalogue, settings)
            catalogue.rules.replace(await rule_rows.load(tx))
            return PriceBook(await price_rows.load(tx))
    except DBAPIError as error:
        raise OperatorError(
            f"The database cannot be used ({type(error.orig).__name__}). Run: imagegate doctor"
        ) from error
    except OSError as error:
        raise OperatorError(f"The database cannot be reached: {error}. Run: imagegate doctor") from None


async def check_schema(connection: AsyncConnection) -> None:
    """Raises OperatorError when the database's schema is not the one this program was written for."""
    current, head = await current_and_head(connection)
    if current is None:
        raise OperatorError("The database has no tables yet. Run: imagegate db upgrade")
    if current != head:
        raise OperatorError(
            f"The database's schema is at {current}, this imagegate needs {head}. Run: imagegate db upgrade"
        )


def credentials_for(catalogue: Catalogue, settings: Settings) -> dict[str, Credential]:
    """The providers that can be asked: those with a base URL and, where one is needed, a key."""
    found = {}
    for name, provider in catalogue.providers.items():
        ours = settings.provider(name)
        base_url = ours.base_url or provider.base_url
        if (provider.needs_key and ours.api_key is None) or (base_url is None and provider.needs_url):
            continue
        hosts = frozenset(provider.trusted_hosts) | ours.trusted_hosts
        found[name] = Credential(base_url or "", ours.api_key, hosts)
    return found
