"""Four sweepers at once: whatever dead workers left ends once, whoever comes first."""

import asyncio
from contextlib import AsyncExitStack

from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.generation import recovery
from imagegate.generation.recovery import Deaths
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.faults.proofs import nothing_is_amiss
from tests.line.test_polled import COST, Serve, SlowProvider, another_worker, ask
from tests.line.test_sweep import Silent, count

LOST, KEPT, SWEEPERS = 8, 4, 4


async def left_behind(
    services: Services, account: Account, serve: Serve, slow: SlowProvider, name: str, n: int
) -> None:
    """A worker that asked a provider, and is gone."""
    async with another_worker(services, slow) as dying:
        url = await serve(dying)
        asking = [asyncio.create_task(ask(account, url, f"{name}-{number}")) for number in range(n)]
        async with asyncio.timeout(20):
            while len(slow.asked) < n:
                await asyncio.sleep(0.01)
    await asyncio.gather(*asking)


async def test_four_sweepers_end_everything_once(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    """Of what was lost nothing is there; what a provider has accepted is gone on with, by one of them."""
    accepted = SlowProvider()
    await left_behind(services, account, serve, Silent(), "lost", LOST)
    await left_behind(services, account, serve, accepted, "kept", KEPT)
    accepted.ready.set()
    asked = len(accepted.asked)
    async with AsyncExitStack() as stack:
        sweepers = [
            await stack.enter_async_context(another_worker(services, accepted)) for _ in range(SWEEPERS)
        ]
        ended = await asyncio.gather(*(recovery.sweep(one, Deaths(0)) for one in sweepers))
        async with asyncio.timeout(20):
            while await count(engine, account, "captured") < KEPT:
                await asyncio.sleep(0.02)

    assert sum(ended) == LOST + KEPT
    assert len(accepted.asked) - asked == KEPT, "one of them goes on with each"
    assert len(accepted.submitted) == KEPT, "and none sends it again"
    assert await count(engine, account, "voided") == LOST
    assert await account.balance() == (LIVE_TOKENS - KEPT * COST, 0)
    await nothing_is_amiss(engine, await serve(services), [account], [])
