"""What every serving process does beside requests: sweeps up what others left behind, grants what is due."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog

from imagegate.generation import recovery
from imagegate.ledger import allowances
from imagegate.services import Services

log = structlog.get_logger()


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """The loops run as long as this is open."""
    deaths = recovery.Deaths(services.settings.worker_lease_s)
    interval_s = services.settings.sweep_interval_s
    loops = [
        asyncio.create_task(repeat("sweep", interval_s, partial(recovery.sweep, services, deaths))),
        asyncio.create_task(repeat("allowances", interval_s, partial(allowances.grant_due, services.engine))),
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop


async def repeat(name: str, interval_s: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` for ever, `interval_s` seconds apart. Whatever goes wrong, it is tried again."""
    while True:
        try:
            await work()
        except Exception as error:
            if recovery.is_passing(error):
                log.warning("loop_failed", loop=name, error=type(error).__name__)
            else:
                log.exception("loop_bug", loop=name)
        await asyncio.sleep(interval_s)
