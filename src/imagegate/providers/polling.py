"""What adapters of polled providers share: asking about accepted work until it has ended, and where to ask."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar

from imagegate.domain import ProviderCall, ProviderImage, UpstreamJob
from imagegate.errors import Ambiguous, NotSent, RefusedUnbilled
from imagegate.outbound import Answer, is_at_home
from imagegate.providers import openai_wire as wire

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0
ANSWER_S = 30.0
"""The longest wait for one answer about a job."""
LOST_AFTER = 6
"""So many answers in a row that know nothing of the work end it; just after a submit some are usual."""
MAX_URL_CHARS = 2048

T = TypeVar("T")
Ask = Callable[[], Awaitable[Answer]]
Test = Callable[[Answer], bool]


def is_news(answer: Answer) -> bool:
    return answer.status != 429 and answer.status < 500


def nothing_is_lost(answer: Answer) -> bool:
    return False


async def poll(
    provider: str,
    call: ProviderCall,
    job: UpstreamJob,
    ask: Ask,
    read: Callable[[Answer], T | None],
    *,
    first_wait_s: float = FIRST_WAIT_S,
    is_news: Test = is_news,
    is_lost: Test = nothing_is_lost,
) -> T:
    """Ask until `read` gives a result or raises; None means that it is still being made.

    first_wait_s: waits grow from it to LONGEST_WAIT_S; a longer one stays as it is.
    A poll that fails on the way, or is no news (429 and 5xx), says nothing of the work: it is asked again. After
    `call.poll_s` seconds, or LOST_AFTER lost answers in a row, raises Ambiguous, with the job's id.
    """
    until, wait_s, lost = monotonic() + call.poll_s, first_wait_s, 0
    while monotonic() < until:
        try:
            answer = await ask()
        except (Ambiguous, NotSent, RefusedUnbilled):
            answer = None
        if answer is not None and is_news(answer):
            lost = lost + 1 if is_lost(answer) else 0
            if lost == LOST_AFTER:
                raise Ambiguous(provider, "knows nothing of the work it accepted", upstream_id=job.id)
            result = None if lost else read(answer)
            if result is not None:
                return result
        await asyncio.sleep(min(wait_s, max(until - monotonic(), 0.0)))
        wait_s = max(wait_s, min(wait_s * 1.5, LONGEST_WAIT_S))
    raise Ambiguous(provider, "had not finished the work when we stopped asking", upstream_id=job.id)


def job_id(provider: str, answer: Answer, given: Any) -> str:
    """The id an answer gave the work. Raises Ambiguous without a usable one: it may run, unseen."""
    known = wire.safe_word(given)
    if known is None:
        raise Ambiguous(
            provider, "accepted the work without telling its id", upstream_id=wire.upstream_id(answer)
        )
    return known


def place(call: ProviderCall, given: Any, own: str) -> str:
    """Where to ask: the address given, if our key may go there; else one of our own making."""
    if isinstance(given, str) and len(given) <= MAX_URL_CHARS:
        return given if is_at_home(given, call.base_url, call.trusted_hosts) else own
    return own


def image_at(link: Any) -> ProviderImage | None:
    """The image behind a link or in a data URL; None for whatever else an answer holds there."""
    if not isinstance(link, str):
        return None
    head, comma, content = link.partition(",")
    if head[:5].lower() == "data:":
        inline = comma and content and head.lower().endswith(";base64")
        return ProviderImage(b64=content) if inline else None
    return ProviderImage(url=link) if link.startswith(("http://", "https://")) else None
