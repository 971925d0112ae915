"""What adapters of polled providers share: asking about accepted work until it has ended."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from imagegate.domain import ProviderCall, ProviderResult, UpstreamJob
from imagegate.errors import Ambiguous, NotSent, RefusedUnbilled
from imagegate.outbound import Answer

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0
ANSWER_S = 30.0
"""The longest wait for one answer about a job."""

Ask = Callable[[], Awaitable[Answer]]
Read = Callable[[Answer], ProviderResult | None]


async def poll(
    provider: str,
    call: ProviderCall,
    job: UpstreamJob,
    ask: Ask,
    read: Read,
    *,
    first_wait_s: float = FIRST_WAIT_S,
) -> ProviderResult:
    """Ask until `read` gives a result or raises; None means that it is still being made.

    A poll that fails on the way, or is answered 429 or 5xx, says nothing of the work: it is asked again. After
    `call.poll_s` seconds raises Ambiguous, with the job's id.
    """
    until, wait_s = monotonic() + call.poll_s, first_wait_s
    while monotonic() < until:
        try:
            answer = await ask()
        except (Ambiguous, NotSent, RefusedUnbilled):
            answer = None
        if answer is not None and answer.status != 429 and answer.status < 500:
            result = read(answer)
            if result is not None:
                return result
        await asyncio.sleep(min(wait_s, max(until - monotonic(), 0.0)))
        wait_s = min(wait_s * 1.5, LONGEST_WAIT_S)
    raise Ambiguous(provider, "had not finished the work when we stopped asking", upstream_id=job.id)
