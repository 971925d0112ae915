"""The registry: the database and what stands in it, without the network and the image store. Quick to open."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.catalogue import preference_rows, provider_rules, rule_rows
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.catalogue import Catalogue, load_catalogue
from imagegate.catalogue.prices import PriceBook
from imagegate.db.base import open_engine
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import current_and_head, upgrade
from imagegate.db.watch import watching
from imagegate.domain import Credential
from imagegate.errors import OperatorError
from imagegate.identity import provider_keys
from imagegate.identity.credentials import Access, CredentialBook, ProviderKey
from imagegate.identity.provider_keys import StoredKey, hint_of
from imagegate.identity.sealing import is_sealed_with, seal, unseal
from imagegate.identity.secret import Keyring, check_fingerprint, load_keyring
from imagegate.settings import ProviderSettings, Settings
from imagegate.webhooks.secrets import Seals

log = structlog.get_logger()


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
    credentials: CredentialBook
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
            keyring = load_keyring(settings)
            catalogue = load_catalogue(settings.catalogue_file)
            prices, credentials = await prepare_database(engine, settings, keyring, catalogue)
            yield Registry(settings, engine, keyring, catalogue, prices, credentials, urls.alone_since)
        finally:
            await engine.dispose()


async def prepare_database(
    engine: AsyncEngine, settings: Settings, keyring: Keyring, catalogue: Catalogue
) -> tuple[PriceBook, CredentialBook]:
    """Check that the secret is the database's own, and price what has no price yet."""
    try:
        async with engine.begin() as tx:
            await check_schema(tx)
            await check_fingerprint(tx, keyring)
            await price_rows.seed(tx, catalogue, settings)
            catalogue.rules.replace(await rule_rows.load(tx))
            catalogue.preferences.replace(await preference_rows.load(tx))
            credentials = CredentialBook(
                await load_access(tx, catalogue, settings, keyring), places=places_of(catalogue, settings)
            )
            return PriceBook(await price_rows.load(tx)), credentials
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


async def load_access(
    connection: AsyncConnection, catalogue: Catalogue, settings: Settings, keyring: Keyring
) -> dict[str, Access]:
    """The providers that can be reached, with the keys of the environment and those that operators added.

    Read the versions before this, never after. A key that cannot be opened is logged and left out.
    """
    stored = await provider_keys.load(connection, keyring.sealing)
    for key in stored:
        if key.fault is not None:
            log.error(
                "provider_key_unusable",
                provider=key.provider,
                key=key.public_id,
                hint=key.hint,
                why=key.fault,
            )
    return access_to(catalogue, settings, stored, await provider_rules.load_disabled(connection))


def access_to(
    catalogue: Catalogue,
    settings: Settings,
    stored: Sequence[StoredKey] = (),
    disabled: Collection[str] = (),
) -> dict[str, Access]:
    """The providers that can be reached: those with a base URL and, where one is needed, a key."""
    found = {}
    for name, provider in catalogue.providers.items():
        ours = settings.provider(name)
        base_url = ours.base_url or provider.base_url
        keys = (*keys_in(ours), *keys_of(name, stored))
        if (provider.needs_key and not keys) or (base_url is None and provider.needs_url):
            continue
        hosts = frozenset(provider.trusted_hosts) | ours.trusted_hosts
        first = keys[0].secret if keys else None
        found[name] = Access(Credential(base_url or "", first, hosts), keys, name not in disabled)
    return found


def places_of(catalogue: Catalogue, settings: Settings) -> dict[str, Credential]:
    """Every provider that takes keys and whose address is known, without a key."""
    found = {}
    for name, provider in catalogue.providers.items():
        ours = settings.provider(name)
        if provider.needs_key and (base_url := ours.base_url or provider.base_url):
            hosts = frozenset(provider.trusted_hosts) | ours.trusted_hosts
            found[name] = Credential(base_url, None, hosts)
    return found


def keys_in(ours: ProviderSettings) -> Iterator[ProviderKey]:
    """Those of the environment."""
    for number, secret in enumerate(ours.api_keys, 1):
        yield ProviderKey(env_id(number), secret, hint_of(secret.get_secret_value()))


def env_id(number: int) -> str:
    """The id of a key of the environment, counted from 1: `env:1`."""
    return f"env:{number}"


def keys_of(provider: str, stored: Sequence[StoredKey]) -> Iterator[ProviderKey]:
    """Those that operators added and that can be opened."""
    for key in stored:
        if key.provider == provider and key.secret is not None:
            yield ProviderKey(key.public_id, key.secret, key.hint)


def seals_of(keyring: Keyring) -> Seals:
    """How secrets of webhooks are sealed and opened again, with whatever is in force at the moment."""
    return Seals(
        lambda plain, belongs_to: seal(keyring.sealing, plain, belongs_to),
        lambda sealed, belongs_to: unseal(keyring.sealing, sealed, belongs_to),
        lambda sealed: is_sealed_with(keyring.sealing[0], sealed),
    )
