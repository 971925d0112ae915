"""A sweeper that dies in the middle: each generation ends by itself, and the next sweep ends the rest."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.generation import recovery
from imagegate.generation.recovery import Deaths
from imagegate.journal.items import Settle
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.line.test_polled import Serve, SlowProvider, another_worker, ask

LOST = 5


class Dying:
    """A journal whose process ends after two settlements."""

    def __init__(self, services: Services) -> None:
        self._journal = services.journal
        self.worker_id = services.journal.worker_id
        self.left = 2

    async def settle(self, wanted: Settle, *, patience_s: float) -> object:
        if not self.left:
            raise asyncio.CancelledError
        self.left -= 1
        return await self._journal.settle(wanted, patience_s=patience_s)


async def count(engine: AsyncEngine, account: Account, state: str) -> int:
    async with engine.connect() as connection:
        query = text("SELECT count(*) FROM generations WHERE account_id = :id AND state = :state")
        return int((await connection.execute(query, {"id": account.id, "state": state})).scalar_one())


class Silent(SlowProvider):
    async def generate(self, call: object) -> object:  # type: ignore[override]
        self.asked.append("unknown")
        await self.ready.wait()
        raise AssertionError("never ready")


async def test_the_next_sweep_ends_what_a_dying_one_left(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    slow = Silent()
    async with another_worker(services, slow) as dying:
        url = await serve(dying)
        asking = [asyncio.create_task(ask(account, url, f"lost-{n}")) for n in range(LOST)]
        async with asyncio.timeout(10):
            while len(slow.asked) < LOST:
                await asyncio.sleep(0.01)
    await asyncio.gather(*asking)

    with suppress(asyncio.CancelledError):
        await recovery.sweep(replace(services, journal=Dying(services)), Deaths(0))  # type: ignore[arg-type]
    left = await count(engine, account, "running")
    ended = await recovery.sweep(services, Deaths(0))

    assert (left, ended) == (LOST - 2, LOST - 2)
    assert await count(engine, account, "voided") == LOST
    assert await account.balance() == (LIVE_TOKENS, 0)
