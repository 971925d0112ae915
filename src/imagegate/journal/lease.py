"""The lease of one process: while it is renewed, nobody touches the generations that name this worker."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from imagegate.settings import Settings

log = structlog.get_logger()

RENEW = text(
    """
    INSERT INTO workers (id, lease_until, secrets) VALUES (:id, now() + :lease_s * interval '1 second', :secrets)
    ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
    """
)
FORGET_EVERY_S = 3600.0
FORGET = text(
    """
    DELETE FROM workers w WHERE w.lease_until < now() - interval '1 day' AND NOT EXISTS (
        SELECT 1 FROM generations g WHERE g.worker_id = w.id AND g.state IN ('queued', 'running', 'in_doubt'))
    """
)


class Lease:
    """Renewed outside the pool, so that a busy pool cannot cost a process its life."""

    def __init__(
        self, engine: AsyncEngine, worker_id: UUID, settings: Settings, secrets: Sequence[str]
    ) -> None:
        """secrets: fingerprints of the master secrets that this process accepts."""
        options = {"timeout": settings.heartbeat_s, "command_timeout": settings.heartbeat_s}
        unnamed = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        self._engine = create_async_engine(engine.url, poolclass=NullPool, connect_args=options | unnamed)
        self._columns = {"id": worker_id, "lease_s": settings.worker_lease_s, "secrets": list(secrets)}
        self._heartbeat_s = settings.heartbeat_s
        self._forget_at = 0.0

    async def renew(self) -> None:
        async with self._engine.begin() as tx:
            await tx.execute(RENEW, self._columns)

    async def keep(self) -> None:
        """Renew for ever. A heartbeat that fails is tried again at the next."""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            try:
                await self.renew()
                await self._forget_the_dead()
            except Exception as error:
                log.warning("heartbeat_failed", error=type(error).__name__)

    async def _forget_the_dead(self) -> None:
        if monotonic() >= self._forget_at:
            self._forget_at = monotonic() + FORGET_EVERY_S
            async with self._engine.begin() as tx:
                await tx.execute(FORGET)
