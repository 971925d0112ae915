"""What an operator watches of the ledger: cheap enough to be looked at every few seconds, unlike the whole proof."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

LOOK = text(
    """
    WITH holds AS (
        SELECT account_id, env, sum(hold_tokens) AS tokens, count(*) AS n,
            min(coalesce(claimed_at, created_at)) FILTER (WHERE state <> 'queued' AND hold_tokens > 0) AS oldest_at,
            count(*) FILTER (WHERE state = 'queued') AS queued,
            min(created_at) FILTER (WHERE state = 'queued') AS queued_at
        FROM generations WHERE state IN ('queued', 'running', 'in_doubt') GROUP BY account_id, env
    ), held AS (SELECT account_id, env, held_tokens FROM wallets WHERE held_tokens <> 0)
    SELECT count(*) FILTER (WHERE coalesce(held_tokens, 0) <> coalesce(tokens, 0)) AS imbalances,
        coalesce(sum(n), 0)::bigint AS open_holds,
        coalesce(extract(epoch FROM now() - min(oldest_at)), 0)::double precision AS oldest_open_hold_s,
        coalesce(sum(queued), 0)::bigint AS jobs_waiting,
        coalesce(extract(epoch FROM now() - min(queued_at)), 0)::double precision AS oldest_job_s
    FROM holds FULL JOIN held USING (account_id, env)
    """
)


@dataclass(frozen=True, slots=True)
class Gauges:
    """imbalances: wallets whose held tokens are not the holds of their open generations; 0 unless there is a bug.

    open_holds: generations that are queued, running or in doubt. oldest_open_hold_s: since when the oldest of those
    that somebody works on has held tokens, a job from when it was taken up; 0 when there is none.
    jobs_waiting, oldest_job_s: async jobs that nobody works on, and since when the oldest has waited.
    """

    imbalances: int
    open_holds: int
    oldest_open_hold_s: float
    jobs_waiting: int
    oldest_job_s: float


async def read_gauges(connection: AsyncConnection) -> Gauges:
    """One statement, so that all of it is one moment. Reads the open generations and the wallets with holds."""
    row = (await connection.execute(LOOK)).one()
    ages = max(row.oldest_open_hold_s, 0.0), row.jobs_waiting, max(row.oldest_job_s, 0.0)
    return Gauges(row.imbalances, row.open_holds, *ages)
