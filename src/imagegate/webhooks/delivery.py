"""Delivering events: claimed in a short transaction, posted outside of any, their ends written after.

At least once: what a process had claimed when it died is sent again a while later under the same `webhook-id`. One
receiver, and one account, can take up only a part of what a process delivers at once. Claims, bodies and ends go to
the database in batches, on one connection at a time, so that deliveries are not in the way of those who draw.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import is_gone
from imagegate.outbound import HookAnswer, Outbound
from imagegate.settings import Settings
from imagegate.signing import signed_headers
from imagegate.webhooks import outbox
from imagegate.webhooks.outbox import End, Event
from imagegate.webhooks.secrets import Seals, read_signing

log = structlog.get_logger()

UNPREPARED = HookAnswer(None, "could not be prepared; see this gateway's log")

DELAYS_S = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600)
"""How long after each failure the next try is made; the last one again and again."""
JITTER = 0.2
MOST_OF_ONE_HOST = 4
SLACK_S = 20.0
"""How much longer than its receiver may take an event is lent."""
WAIT_S = 1.0
GATHER_S = 0.05
"""How long further ends are waited for, which are then written together."""
MOST_WHEN_CROWDED, GIVE_WAY_S = 4, 0.5
"""Eight events a second: an event costs about as much as two images of a caller who waits."""

Build = Callable[[Sequence[Event]], Awaitable[Mapping[UUID, bytes]]]


@dataclass(frozen=True, slots=True)
class Courier:
    """What deliveries of one process share.

    build: the events' bodies as they stand now, by id, read at every try; those that it cannot make are left out.
    crowded: whether many callers wait for images: then a few events at a time go out, with pauses.
    ended: what is still to be written.
    """

    engine: AsyncEngine
    outbound: Outbound
    seals: Seals
    settings: Settings
    build: Build
    crowded: Callable[[], bool] = lambda: False
    under_way: dict["asyncio.Task[None]", Event] = field(default_factory=dict)
    ended: list[End] = field(default_factory=list)


async def deliver_due(courier: Courier) -> None:
    """Deliver what is due, until nothing more can be taken up. Slow ones go on when this has returned."""
    while True:
        await write_ends(courier)
        if not await take_up(courier):
            return
        if courier.under_way:
            await asyncio.wait(courier.under_way, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(GIVE_WAY_S if courier.crowded() else GATHER_S)


async def stop(courier: Courier) -> None:
    """Let those that are under way come to their end, which their receivers' time bounds, and write it."""
    if courier.under_way:
        await asyncio.wait(courier.under_way, timeout=courier.settings.webhook_timeout_s + WAIT_S)
    for task in courier.under_way:
        task.cancel()
    try:
        await write_ends(courier)
    except Exception as error:
        if not is_gone(error):
            raise
        log.warning("webhooks_unfinished", events=len(courier.ended), error=type(error).__name__)


async def take_up(courier: Courier) -> int:
    """Claim what there is room for and begin with it; returns how many that were."""
    taken = await claim(courier)
    if not taken:
        return 0
    bodies = await courier.build(taken)
    async with courier.engine.begin() as tx:
        signing = await read_signing(tx, courier.seals, {event.account_id for event in taken})
    for event in taken:
        if event.id not in bodies or event.account_id not in signing:
            courier.ended.append(end_of(event, UNPREPARED))
            continue
        post = deliver(courier, event, signing[event.account_id], bodies[event.id])
        task = asyncio.create_task(post)
        courier.under_way[task] = event
        task.add_done_callback(courier.under_way.pop)
    return len(taken)


async def claim(courier: Courier) -> list[Event]:
    most = MOST_WHEN_CROWDED if courier.crowded() else courier.settings.webhook_concurrency
    free = most - len(courier.under_way)
    if free <= 0:
        return []
    accounts, hosts = most_of_one(courier), MOST_OF_ONE_HOST
    by_account, by_host = counted(courier.under_way.values())
    full_accounts = [account for account, count in by_account.items() if count >= accounts]
    full_hosts = [host for host, count in by_host.items() if count >= hosts]
    async with courier.engine.begin() as tx:
        found = await outbox.find_due(tx, full_accounts, full_hosts, MOST_OF_ONE_HOST * free)
        taken = choose(found, by_account, by_host, accounts, free)
        if taken:
            await outbox.lease(tx, taken, courier.settings.webhook_timeout_s + SLACK_S)
    return taken


async def write_ends(courier: Courier) -> None:
    """While the database is away they are kept; a process that dies with them has its events sent again."""
    ends = list(courier.ended)
    if not ends:
        return
    async with courier.engine.begin() as tx:
        states = await outbox.finish(tx, ends)
    del courier.ended[: len(ends)]
    for end in ends:
        if states.get(end.event.id) == "failed":
            told = {"message": end.event.message_id, "tries": end.event.try_, "why": end.answer.error}
            log.warning("webhook_failed", **told)


def most_of_one(courier: Courier) -> int:
    """How many of one account's events may be under way: half of all, so that its receivers hold up no others."""
    return max(1, courier.settings.webhook_concurrency // 2)


def counted(events: Iterable[Event]) -> tuple[Counter[UUID], Counter[str]]:
    listed = list(events)
    return Counter(event.account_id for event in listed), Counter(event.host for event in listed)


def choose(
    found: Iterable[Event],
    by_account: Counter[UUID],
    by_host: Counter[str],
    most_of_account: int,
    free: int,
) -> list[Event]:
    """As many as are free, but of no account and no host too many. Counts them in."""
    taken: list[Event] = []
    for event in found:
        if len(taken) == free:
            break
        if by_account[event.account_id] < most_of_account and by_host[event.host] < MOST_OF_ONE_HOST:
            by_account[event.account_id] += 1
            by_host[event.host] += 1
            taken.append(event)
    return taken


async def deliver(courier: Courier, event: Event, signing: tuple[bytes, ...], body: bytes) -> None:
    """One try. Its end is written by whoever looks next."""
    try:
        answer = await send(courier.outbound, courier.settings, signing, event.url, event.message_id, body)
    except Exception:
        log.exception("webhook_bug", message=event.message_id)
        answer = UNPREPARED
    courier.ended.append(end_of(event, answer))


def end_of(event: Event, answer: HookAnswer) -> End:
    return End(event, answer, delay_after(event.try_))


async def send(
    outbound: Outbound,
    settings: Settings,
    secrets: tuple[bytes, ...],
    url: str,
    message_id: str,
    body: bytes,
) -> HookAnswer:
    """One try: signed for this moment."""
    return await outbound.post_hook(
        url,
        body=body,
        headers=signed_headers(secrets, message_id, int(time.time()), body),
        timeout_s=settings.webhook_timeout_s,
        allow_private=settings.webhook_allow_private,
    )


def delay_after(tries: int) -> float:
    """Seconds until the next try. The first comes within 20 seconds of the failure, whatever the jitter."""
    delay_s = DELAYS_S[min(tries, len(DELAYS_S)) - 1]
    return delay_s * (1 + JITTER * random.random())  # noqa: S311 it spreads tries, and keeps no secret


def enveloped(kind: str, happened_at: datetime, data: dict[str, Any]) -> bytes:
    """The body of an event: its type, when it happened (RFC 3339), and what it tells."""
    happened = happened_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return to_json({"type": kind, "timestamp": happened, "data": data})
