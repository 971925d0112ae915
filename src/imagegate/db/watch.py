"""Watches the embedded PostgreSQL while it is used, and starts it again when it was killed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TypeVar

import structlog

from imagegate.db.embedded import EmbeddedPostgres
from imagegate.errors import OperatorError

log = structlog.get_logger()

T = TypeVar("T")

LOOK_EVERY_S = 0.5
LONGEST_PAUSE_S = 30.0
"""Between tries to start a server that does not start, say because its disk is full."""


@asynccontextmanager
async def watching(server: EmbeddedPostgres) -> AsyncIterator[None]:
    """As long as this is open, a server that is gone comes back. Leave it before you leave the server.

    Every process that shares the server may watch it: starting happens under the server's own lock, and whoever
    comes second finds it running.
    """
    watcher = asyncio.create_task(watch(server))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def watch(server: EmbeddedPostgres) -> None:
    """For ever. A look costs two small reads; nothing connects while the server's process lives."""
    pause_s = LOOK_EVERY_S
    while True:
        await asyncio.sleep(pause_s)
        runs = await in_thread(server.is_running) or await bring_back(server)
        pause_s = LOOK_EVERY_S if runs else min(pause_s * 2, LONGEST_PAUSE_S)


async def in_thread(work: Callable[[], T]) -> T:
    """Run it in a thread. Who cancels us waits for its end: the server's locks must not outlive its user."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


async def bring_back(server: EmbeddedPostgres) -> bool:
    """Start the server again. False, with the reason in the log, when that failed."""
    began, url = monotonic(), server.app_url
    log.error("database_gone", next="starting it again")
    try:
        await in_thread(server.ensure_running)
    except (OperatorError, OSError) as error:
        log.error("database_does_not_start", error=str(error))
        return False
    log.warning("database_back", seconds=round(monotonic() - began, 1))
    if server.app_url != url:
        log.error(
            "database_moved", next="restart the gateway: the folder of the database's socket was deleted"
        )
    return True
