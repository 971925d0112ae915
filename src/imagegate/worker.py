"""What every serving process does beside requests: sweep up what other processes left behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from imagegate.generation import recovery
from imagegate.services import Services

log = structlog.get_logger()


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """The loops run as long as this is open."""
    sweeper = asyncio.create_task(sweeping(services))
    try:
        yield
    finally:
        sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await sweeper


async def sweeping(services: Services) -> None:
    deaths = recovery.Deaths(services.settings.worker_lease_s)
    while True:
        try:
            await recovery.sweep(services, deaths)
        except Exception as error:
            if not recovery.is_passing(error):
                log.exception("sweep_bug")
            log.warning("sweep_failed", error=type(error).__name__)
        await asyncio.sleep(services.settings.sweep_interval_s)
