"""Waits for generations that other processes or tasks make: one query for all who wait, four times a second."""

import asyncio
from collections import Counter
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

log = structlog.get_logger()

POLL_S = 0.25
Name = tuple[UUID, str, UUID]

ENDED = text(
    """
    SELECT g.account_id, g.env, g.id FROM generations g
    WHERE (g.account_id, g.env, g.id) IN (
        SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:envs AS text[]), CAST(:ids AS uuid[])))
        AND g.state IN ('captured', 'voided')
    """
)


class Watch:
    """One for a process."""

    def __init__(self) -> None:
        self._waiting: Counter[Name] = Counter()
        self._ended: dict[Name, asyncio.Event] = {}
        self._poller: asyncio.Task[None] | None = None

    async def ended(self, engine: AsyncEngine, name: Name, wait_s: float) -> bool:
        """Whether the generation ends within `wait_s` seconds. A database that is away makes it wait on."""
        event = self._ended.setdefault(name, asyncio.Event())
        self._waiting[name] += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(engine))
        try:
            async with asyncio.timeout(wait_s):
                await event.wait()
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name], self._ended[name]

    def end(self, name: Name) -> None:
        """A task of this process has ended it: nobody need ask the database."""
        if event := self._ended.get(name):
            event.set()

    async def _poll(self, engine: AsyncEngine) -> None:
        while self._ended:
            began = monotonic()
            try:
                for name in await self._ask(engine):
                    self.end(name)
            except Exception as error:
                log.warning("wait_failed", error=type(error).__name__)
            await asyncio.sleep(max(POLL_S - (monotonic() - began), 0.05))

    async def _ask(self, engine: AsyncEngine) -> list[Name]:
        names = [name for name, event in self._ended.items() if not event.is_set()]
        columns = {
            "accounts": [n[0] for n in names],
            "envs": [n[1] for n in names],
            "ids": [n[2] for n in names],
        }
        async with engine.connect() as connection:
            return [(row.account_id, row.env, row.id) for row in await connection.execute(ENDED, columns)]
