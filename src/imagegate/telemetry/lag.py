"""How late the event loop is: somebody sleeps for a moment and looks at the clock."""

import asyncio
from collections.abc import Callable

from imagegate.telemetry.counts import Buckets

SLEEP_S = 0.02


async def watch(lag: Buckets, tell: Callable[[float], None]) -> None:
    """For ever; about a millisecond of work a second. tell: is told every look, in seconds."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + SLEEP_S
        await asyncio.sleep(SLEEP_S)
        late_s = max(clock() - due, 0.0)
        lag.observe(late_s)
        tell(late_s)
