"""How late the event loop is: somebody sleeps for a moment and looks at the clock."""

import asyncio

from imagegate.telemetry.counts import Buckets

SLEEP_S = 0.1


async def watch(lag: Buckets) -> None:
    """For ever; a few microseconds a second."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + SLEEP_S
        await asyncio.sleep(SLEEP_S)
        lag.observe(max(clock() - due, 0.0))
