"""What every serving process does beside requests: does async jobs, sweeps up what others left, grants what is due."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog

from imagegate.dialects.openai.events import event_bodies
from imagegate.generation import expiring, jobs, lane, recovery, rollup
from imagegate.ledger import allowances
from imagegate.registry import seals_of
from imagegate.services import Services
from imagegate.webhooks import delivery, outbox
from imagegate.webhooks.delivery import Courier

log = structlog.get_logger()

CROWD = 24
"""Generations at work, above which webhooks give way."""
WEBHOOKS_S = 1.0
"""How often a process looks for events that are due."""


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """The loops run as long as this is open."""
    deaths = recovery.Deaths(services.settings.worker_lease_s)
    interval_s = services.settings.sweep_interval_s
    expiry_s = services.settings.expiry_interval_s
    courier = courier_of(services)
    loops = [
        asyncio.create_task(repeat("sweep", interval_s, partial(recovery.sweep, services, deaths))),
        asyncio.create_task(repeat("jobs", 0.0, partial(lane.turn, services, lane.Lane()))),
        asyncio.create_task(repeat("expired jobs", interval_s, partial(jobs.drop_expired, services))),
        asyncio.create_task(repeat("webhooks", WEBHOOKS_S, partial(delivery.deliver_due, courier))),
        asyncio.create_task(repeat("allowances", interval_s, partial(allowances.grant_due, services.engine))),
        asyncio.create_task(repeat("expiry", expiry_s, partial(expiring.expire, services))),
        asyncio.create_task(repeat("rollup", rollup.EVERY_S, partial(rollup.close_due, services.engine))),
        asyncio.create_task(repeat("old events", expiry_s, partial(outbox.forget_ended, services.engine))),
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop
        await delivery.stop(courier)


def courier_of(services: Services) -> Courier:
    """Who delivers this process's part of the events."""
    return Courier(
        services.engine,
        services.outbound,
        seals_of(services.keyring),
        services.settings,
        partial(event_bodies, services),
        lambda: len(services.status.running) > CROWD,
    )


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
