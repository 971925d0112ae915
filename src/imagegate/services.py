"""Services: the frozen record of what is open while the process runs. The only place where things are constructed."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate import failpoints
from imagegate.catalogue import preference_rows, rule_rows
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import PriceBook
from imagegate.domain import Adapter
from imagegate.errors import OperatorError
from imagegate.identity.credentials import CredentialBook
from imagegate.identity.keys import KeyCache
from imagegate.identity.limits import Limiter
from imagegate.identity.limits_local import LocalLimiter
from imagegate.identity.secret import Keyring, turn_to_force
from imagegate.ids import new_id
from imagegate.journal.journal import Journal
from imagegate.journal.lease import Lease
from imagegate.journal.waiting import Watch
from imagegate.load import Load
from imagegate.media.store import ImageStore, open_store
from imagegate.moderation.panel import Panel, open_panel
from imagegate.outbound import Outbound, open_outbound
from imagegate.pool import WorkPool
from imagegate.registry import load_access, open_registry
from imagegate.routing import rows as health_rows
from imagegate.routing.health import Health
from imagegate.settings import Settings
from imagegate.supervisor import Supervisor
from imagegate.telemetry import lag
from imagegate.telemetry.counts import Counts
from imagegate.telemetry.lines import Lines
from imagegate.telemetry.spans import NO_SPANS, Spans, open_spans

log = structlog.get_logger()

REFRESH_S = 1.0


@dataclass(slots=True)
class Status:
    """What /readyz tells beside the database: the one thing here that changes."""

    draining: bool = False
    running: set[UUID] = field(default_factory=set)
    jobs_due: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a job has been accepted here, or one has ended."""
    jobs_counted: dict[tuple[UUID, str], tuple[float, int]] = field(default_factory=dict)
    """How many jobs of a wallet waited when it was looked at last, and those accepted here since."""
    watch: Watch = field(default_factory=Watch)
    prices_read_at: float = field(default_factory=monotonic)
    moderated: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often moderation said what, by stage and verdict."""
    counts: Counts = field(default_factory=Counts)
    lines: Lines | None = None
    """Who writes the log, where it is not left to whoever embeds this."""


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    engine: AsyncEngine
    keyring: Keyring
    keys: KeyCache
    catalogue: Catalogue
    prices: PriceBook
    credentials: CredentialBook
    adapters: Mapping[str, Adapter]
    outbound: Outbound
    pool: WorkPool
    store: ImageStore
    moderation: Panel
    limiter: Limiter
    journal: Journal
    supervisor: Supervisor
    status: Status
    health: Health
    load: Load
    spans: Spans = NO_SPANS


@asynccontextmanager
async def open_services(
    settings: Settings, say: Callable[[str], None] = lambda line: None
) -> AsyncIterator[Services]:
    """Open everything, yield it, close it in reverse; running generations are waited for. Raises OperatorError."""
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(open_registry(settings, say))
        engine, keyring, catalogue = registry.engine, registry.keyring, registry.catalogue
        pool = WorkPool(threads=settings.work_threads or max(2, os.cpu_count() or 1))
        stack.callback(pool.close)
        check_refusal_fallback(settings, catalogue)
        store = await stack.enter_async_context(checked_store(settings, engine))
        outbound = await stack.enter_async_context(open_outbound())
        journal = Journal(engine, new_id(), pooler=settings.database_pooler)
        services = Services(
            settings=settings,
            engine=engine,
            keyring=keyring,
            keys=KeyCache(engine, keyring),
            catalogue=catalogue,
            prices=registry.prices,
            credentials=registry.credentials,
            adapters=adapters_for(catalogue, outbound, pool),
            outbound=outbound,
            pool=pool,
            store=store,
            moderation=open_panel(settings, outbound, pool),
            limiter=await stack.enter_async_context(open_limiter(settings, engine)),
            journal=journal,
            supervisor=Supervisor(),
            status=Status(),
            health=Health(frozenset(p.name for p in catalogue.providers.values() if not p.rests)),
            load=Load(settings),
            spans=await stack.enter_async_context(tracing(settings, journal.worker_id)),
        )
        failpoints.check(settings)
        if registry.alone_since is not None:
            await forget_workers(engine, registry.alone_since, settings.worker_lease_s)
        async with background(services):
            yield services


@asynccontextmanager
async def background(services: Services) -> AsyncIterator[None]:
    """The journal's lane, the refresher and the lease; on the way out first the generations drain, then the journal."""
    knows = services.keyring.fingerprints
    lease = Lease(services.engine, services.journal.worker_id, services.settings, knows)
    await lease.renew()
    lane = asyncio.create_task(services.journal.run())
    known = (services.engine, services.journal.worker_id, services.health)
    await health_rows.load(services.engine, services.health)
    lateness = lag.watch(
        services.status.counts.lag, lambda late_s: services.load.looked(late_s, services.journal.waited_s)
    )
    upkeep = (refresh(services), lease.keep(), health_rows.keep(*known), lateness)
    others = [asyncio.create_task(work) for work in upkeep]
    try:
        yield
    finally:
        services.status.draining = True
        await services.supervisor.drain(services.settings.drain_s)
        services.journal.close()
        await asyncio.wait({lane}, timeout=15)
        for task in (lane, *others):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await health_rows.save(*known)


@asynccontextmanager
async def tracing(settings: Settings, worker_id: UUID) -> AsyncIterator[Spans]:
    """Spans, where somebody takes them; on the way out those that are left are sent. Raises OperatorError."""
    spans = open_spans(settings.otel_endpoint, str(worker_id))
    try:
        yield spans
    finally:
        await asyncio.to_thread(spans.close)


async def forget_workers(engine: AsyncEngine, alone_since: datetime, lease_s: float) -> None:
    """Whoever used this database before we came alone is dead: what it left can be swept up at once.

    A process that came after us has a lease that ends later than any of theirs, and keeps it.
    """
    query = text("DELETE FROM workers WHERE lease_until <= :latest")
    async with engine.begin() as tx:
        await tx.execute(query, {"latest": alone_since + timedelta(seconds=lease_s)})


@asynccontextmanager
async def open_limiter(settings: Settings, engine: AsyncEngine) -> AsyncIterator[Limiter]:
    """Limits kept in this process, or with IMAGEGATE_REDIS_URL by all processes together."""
    if settings.redis_url is None:
        yield LocalLimiter()
        return
    # The client takes 0.1 s to import, and few need it.
    from imagegate.identity.limits_redis import open_shared

    async with open_shared(settings.redis_url.get_secret_value(), partial(count_workers, engine)) as limiter:
        yield limiter


async def count_workers(engine: AsyncEngine) -> int:
    """How many processes share the limits: this one and all others that live."""
    async with engine.connect() as connection:
        query = text("SELECT count(*) FROM workers WHERE lease_until > now()")
        return int((await connection.execute(query)).scalar_one())


@asynccontextmanager
async def checked_store(settings: Settings, engine: AsyncEngine) -> AsyncIterator[ImageStore]:
    """The store, opened. Raises OperatorError."""
    store = open_store(settings)
    try:
        await check_store(engine, store)
        yield store
    finally:
        await store.close()


async def check_store(engine: AsyncEngine, store: ImageStore) -> None:
    """A store belongs to one database. Raises OperatorError when this one belongs to another."""
    store_id = await store.identify()
    async with engine.begin() as tx:
        query = text("INSERT INTO instance (name, value) VALUES ('store_id', :value) ON CONFLICT DO NOTHING")
        await tx.execute(query, {"value": str(store_id)})
        known = (await tx.execute(text("SELECT value FROM instance WHERE name = 'store_id'"))).scalar_one()
    if UUID(known) != store_id:
        raise OperatorError(
            "This image store belongs to another database: its id file names another store. "
            "Set IMAGEGATE_STORE_URL or IMAGEGATE_DATA_DIR to the one this database was set up with."
        )


def check_refusal_fallback(settings: Settings, catalogue: Catalogue) -> None:
    """Raises OperatorError for a provider that nobody knows: its name would be without effect."""
    if unknown := sorted(settings.refusal_providers - set(catalogue.providers)):
        known = ", ".join(sorted(catalogue.providers))
        raise OperatorError(
            f"IMAGEGATE_REFUSAL_FALLBACK names {', '.join(unknown)}, which is no provider. There are {known}."
        )


def adapters_for(catalogue: Catalogue, outbound: Outbound, pool: WorkPool) -> dict[str, Adapter]:
    """Import every adapter by its dotted path. Raises OperatorError for one that cannot be had."""
    found: dict[str, Adapter] = {}
    for name, provider in catalogue.providers.items():
        module, _, attribute = provider.adapter.partition(":")
        try:
            found[name] = getattr(import_module(module), attribute)(outbound, pool)
        except (ImportError, AttributeError) as error:
            raise OperatorError(f"The adapter of provider {name!r} cannot be loaded: {error}") from None
    return found


async def refresh(services: Services) -> None:
    """Read the configuration's versions every second and reload what has changed."""
    known: dict[str, int] = {}
    while True:
        try:
            async with services.engine.connect() as connection:
                versions = await price_rows.read_versions(connection)  # before load: no change is missed
                if versions != known:
                    await turn_to_force(connection, services.keyring)
                    services.prices.replace(await price_rows.load(connection))
                    services.catalogue.rules.replace(await rule_rows.load(connection))
                    services.catalogue.preferences.replace(await preference_rows.load(connection))
                    places = (services.catalogue, services.settings, services.keyring)
                    services.credentials.replace(await load_access(connection, *places))
                    known = versions
            services.status.prices_read_at = monotonic()
        except Exception as error:
            log.warning("refresh_failed", error=type(error).__name__)
        await asyncio.sleep(REFRESH_S)
