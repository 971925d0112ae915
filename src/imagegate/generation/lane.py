"""The lane for async jobs that each process has: which are taken up, how many, in which order.

An interactive generation takes a place in it, so that jobs give way to callers who wait; one place is always left.
Between wallets the one with the fewest jobs at work is next, then the one whose turn is longest ago.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import text

from imagegate.generation import jobs
from imagegate.generation.settling import PATIENCE_S
from imagegate.journal.items import Begin, Done
from imagegate.ledger.holds import WalletKey
from imagegate.services import Services

MOST_ROWS = 200
GATHER_S = 0.02
"""How long further ends and arrivals are waited for, so that one look at the queue serves them all."""
MOST_SERVED = 10_000

NEXT = text(
    """
    WITH RECURSIVE waiting AS (
        (SELECT account_id, env FROM generations WHERE state = 'queued' ORDER BY account_id, env LIMIT 1)
        UNION ALL
        SELECT later.account_id, later.env FROM waiting w CROSS JOIN LATERAL (
            SELECT account_id, env FROM generations
            WHERE state = 'queued' AND (account_id, env) > (w.account_id, w.env)
            ORDER BY account_id, env LIMIT 1) AS later
    ), at_work AS (
        SELECT account_id, env, count(*) AS jobs FROM generations
        WHERE worker_id IS NOT NULL AND state IN ('queued', 'running', 'in_doubt') AND job IS NOT NULL
        GROUP BY account_id, env
    )
    SELECT due.*, coalesce(at_work.jobs, 0) + due.place AS turn
    FROM waiting CROSS JOIN LATERAL (
        SELECT account_id, env, id, epoch, row_number() OVER (ORDER BY id) AS place FROM generations q
        WHERE q.account_id = waiting.account_id AND q.env = waiting.env AND q.state = 'queued'
            AND q.expires_at > now() AND (q.due_at IS NULL OR q.due_at <= now())
        ORDER BY q.id LIMIT :rows
    ) AS due LEFT JOIN at_work ON (at_work.account_id, at_work.env) = (due.account_id, due.env)
    ORDER BY turn, due.id LIMIT :most
    """
)


@dataclass(slots=True)
class Lane:
    """The jobs that this process works on, and which wallet's turn came last."""

    running: "set[asyncio.Task[None]]" = field(default_factory=set)
    served: dict[WalletKey, float] = field(default_factory=dict)

    def free(self, services: Services) -> int:
        """How many more it may take up now."""
        most = services.settings.job_concurrency
        if most == 0 or services.status.draining:
            return 0
        interactive = len(services.status.running) - len(self.running)
        return max(1, most - interactive) - len(self.running)


async def turn(services: Services, lane: Lane) -> None:
    """Wait until there may be jobs and places for them, then take up as many as there are of both."""
    due = services.status.jobs_due
    with suppress(TimeoutError):
        async with asyncio.timeout(services.settings.job_poll_s):
            await due.wait()
        await asyncio.sleep(GATHER_S)
    due.clear()
    while (free := lane.free(services)) > 0:
        async with services.engine.connect() as connection:
            rows = (await connection.execute(NEXT, {"rows": free, "most": MOST_ROWS})).all()
        begun = await asyncio.gather(*(begin(services, lane, row) for row in chosen(lane, rows, free)))
        if not any(begun):
            return


def chosen(lane: Lane, rows: Sequence[Any], free: int) -> Sequence[Any]:
    """The wallets with the fewest jobs at work first; among equals the one whose turn is longest ago."""

    def turn_of(row: Any) -> tuple[int, float, UUID]:
        return row.turn, lane.served.get((row.account_id, row.env), 0.0), row.id

    if len(lane.served) > MOST_SERVED:
        lane.served.clear()
    first = sorted(rows, key=turn_of)[:free]
    lane.served |= {(row.account_id, row.env): monotonic() for row in first}
    return first


async def begin(services: Services, lane: Lane, row: Any) -> bool:
    """Make the job this worker's. False: another one was quicker."""
    services.status.running.add(row.id)  # before it is ours: the sweeper looks at every moment
    owner = (row.account_id, row.env, row.id)
    item = Begin(*owner, row.epoch, services.journal.worker_id, services.settings.deadline_s)
    try:
        outcome = await services.journal.change(item, patience_s=PATIENCE_S)
    except BaseException:
        services.status.running.discard(row.id)
        raise
    if not isinstance(outcome, Done):
        services.status.running.discard(row.id)
        return False
    task = services.supervisor.start(jobs.run(services, owner))
    lane.running.add(task)
    task.add_done_callback(partial(ended, services, lane))
    return True


def ended(services: Services, lane: Lane, task: "asyncio.Task[None]") -> None:
    lane.running.discard(task)
    services.status.jobs_due.set()
