"""One question to a moderator over the network."""

from collections.abc import Mapping
from time import monotonic
from typing import Any

from imagegate.errors import NotSent
from imagegate.moderation.verdicts import ModeratorFailed
from imagegate.outbound import Answer, Outbound

MAX_ANSWER_BYTES = 1024 * 1024
INLINE_BYTES = 96 * 1024
"""Below this a question is written on the event loop: a thread costs more than the work."""


async def ask(
    outbound: Outbound, url: str, body: bytes, headers: Mapping[str, str], *, name: str, timeout_s: float
) -> Any:
    """Its answer's JSON. Asked a second time only when certainly nothing was sent.

    Raises ModeratorFailed, AttemptFailed.
    """
    until = monotonic() + timeout_s
    try:
        answer = await post(outbound, url, body, headers, name, timeout_s)
    except NotSent:
        left_s = until - monotonic()
        if left_s <= 0:
            raise
        answer = await post(outbound, url, body, headers, name, left_s)
    if not 200 <= answer.status < 300:
        raise ModeratorFailed(f"answered {answer.status}")
    try:
        return answer.json()
    except ValueError:
        raise ModeratorFailed("answered with something that is not JSON") from None


async def post(
    outbound: Outbound, url: str, body: bytes, headers: Mapping[str, str], name: str, timeout_s: float
) -> Answer:
    return await outbound.post_json(
        url, body=body, headers=headers, provider=name, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES
    )
