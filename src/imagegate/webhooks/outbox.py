"""The outbox: events that are to be delivered, claimed by whichever process comes first, and how their tries ended.

A row is written in the transaction that ends a generation. Everything here is by the database's clock.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.ids import public_id
from imagegate.outbound import HookAnswer
from imagegate.webhooks.tables import webhook_outbox

State = Literal["pending", "delivered", "failed"]

GONE = 410
"""By this status a receiver says that it wants no more of it."""

DUE = text("""
    SELECT account_id, env, id, generation_id, type, url, created_at, tries + 1 AS try, host
    FROM webhook_outbox, coalesce(lower(substring(url from '^[a-zA-Z]+://([^/?#]*)')), '') AS host
    WHERE state = 'pending' AND next_at <= now()
        AND account_id <> ALL(CAST(:full_accounts AS uuid[])) AND host <> ALL(CAST(:full_hosts AS text[]))
    ORDER BY next_at
    LIMIT :rows
    FOR UPDATE OF webhook_outbox SKIP LOCKED
""")

LEASE = text("""
    UPDATE webhook_outbox o SET tries = o.tries + 1, next_at = now() + make_interval(secs => :lease_s)
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:envs AS text[]), CAST(:ids AS uuid[])) AS taken(account_id, env, id)
    WHERE o.account_id = taken.account_id AND o.env = taken.env AND o.id = taken.id
""")

FINISH = text("""
    UPDATE webhook_outbox o SET last_status = done.status, last_error = done.error,
        state = CASE WHEN done.error IS NULL THEN 'delivered'
            WHEN done.ends OR now() >= o.gives_up_at THEN 'failed' ELSE 'pending' END,
        ended_at = CASE WHEN done.ends OR now() >= o.gives_up_at THEN now() END,
        next_at = least(now() + make_interval(secs => done.delay_s), o.gives_up_at)
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:envs AS text[]), CAST(:ids AS uuid[]), CAST(:tries AS integer[]),
        CAST(:statuses AS integer[]), CAST(:errors AS text[]), CAST(:ends AS boolean[]), CAST(:delays_s AS float8[]))
        AS done(account_id, env, id, try, status, error, ends, delay_s)
    WHERE o.account_id = done.account_id AND o.env = done.env AND o.id = done.id
        AND o.state = 'pending' AND o.tries = done.try
    RETURNING o.id, o.state
""")


FORGET = text(
    "DELETE FROM webhook_outbox WHERE state <> 'pending' AND ended_at < now() - make_interval(days => 30)"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One row that this process has claimed for a while. host: of its URL, in small letters, with the port.

    try_: which try this is, counted from 1.
    """

    account_id: UUID
    env: str
    id: UUID
    generation_id: UUID
    type: str
    url: str
    created_at: datetime
    try_: int
    host: str

    @property
    def message_id(self) -> str:
        """The same at every try, so that receivers recognise what they have had already."""
        return public_id("msg", self.id)


async def find_due(
    tx: AsyncConnection, full_accounts: Collection[UUID], full_hosts: Collection[str], rows: int
) -> list[Event]:
    """Events whose time has come, longest due first, locked until `tx` ends; those that others look at are passed."""
    left_out = {"full_accounts": list(full_accounts), "full_hosts": list(full_hosts), "rows": rows}
    return [Event(*row) for row in await tx.execute(DUE, left_out)]


async def lease(tx: AsyncConnection, events: Sequence[Event], lease_s: float) -> None:
    """Theirs is one more try; nobody else makes one for `lease_s` seconds. They are locked by `find_due`."""
    await tx.execute(LEASE, {**keys_of(events), "lease_s": lease_s})


def keys_of(events: Sequence[Event]) -> dict[str, Any]:
    return {
        "accounts": [event.account_id for event in events],
        "envs": [event.env for event in events],
        "ids": [event.id for event in events],
    }


@dataclass(frozen=True, slots=True)
class End:
    """How a try ended. delay_s: until the next one, if there is one."""

    event: Event
    answer: HookAnswer
    delay_s: float

    @property
    def is_last(self) -> bool:
        return self.answer.error is None or self.answer.status == GONE


async def finish(tx: AsyncConnection, ends: Sequence[End]) -> dict[UUID, str]:
    """Keep how tries ended, but for those after which another has begun.

    Delivered by any 2xx; failed at once by 410, otherwise when the time to give up has come. Returns states by event.
    """
    columns = {
        "tries": [end.event.try_ for end in ends],
        "statuses": [end.answer.status for end in ends],
        "errors": [end.answer.error for end in ends],
        "ends": [end.is_last for end in ends],
        "delays_s": [end.delay_s for end in ends],
    }
    written = await tx.execute(FINISH, {**keys_of([end.event for end in ends]), **columns})
    return {row.id: row.state for row in written}


async def page_events(
    connection: AsyncConnection,
    account_id: UUID,
    envs: Sequence[str],
    state: State | None,
    after: UUID | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """At most `limit` of an account's events older than `after`, newest first."""
    o = webhook_outbox.c
    query = select(webhook_outbox).where(o.account_id == account_id, o.env.in_(envs))
    if state is not None:
        query = query.where(o.state == state)
    if after is not None:
        query = query.where(o.id < after)
    return (await connection.execute(query.order_by(o.id.desc()).limit(limit))).all()


async def redeliver(tx: AsyncConnection, which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """A new try of the same events, at once. What had ended gets another 24 hours and is counted anew."""
    o = webhook_outbox.c
    anew: Mapping[str, Any] = {
        "state": "pending",
        "tries": 0,
        "next_at": text("now()"),
        "ended_at": None,
        "gives_up_at": text(
            "CASE WHEN state = 'pending' THEN gives_up_at ELSE now() + interval '24 hours' END"
        ),
    }
    statement = update(webhook_outbox).where(which).values(anew).returning(*o)
    return (await tx.execute(statement)).all()


async def forget_ended(engine: AsyncEngine) -> int:
    """Remove the events that ended more than 30 days ago; returns how many those were."""
    async with engine.begin() as tx:
        return (await tx.execute(FORGET)).rowcount
