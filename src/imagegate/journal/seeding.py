"""A budget that is set in the middle of a period begins with what was spent and is held in that period already.

Holds count in the period they were taken in. Under the wallet's lock the open generations are marked as counted, so
that their end corrects the budget.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.identity.limit_rows import Scope
from imagegate.ledger.budget_rows import Budget, write_budget

OPEN = "g.state IN ('queued', 'running', 'in_doubt')"
SCOPED = {
    "account": "true",
    "key": "g.key_id = CAST(:scope_id AS uuid)",
    "app": "EXISTS (SELECT FROM api_keys k WHERE k.account_id = g.account_id AND k.env = g.env AND k.id = g.key_id "
    "AND coalesce(k.app, g.app_id) = :scope_id)",
    "team": "EXISTS (SELECT FROM api_keys k WHERE k.account_id = g.account_id AND k.env = g.env AND k.id = g.key_id "
    "AND k.team = :scope_id)",
}
"""Which generations belong to a scope, by the kind of scope. Of an app: by its key's label, else by what was named."""

# Not now(), when the transaction began: it may have waited for the wallet over midnight.
PERIOD = text(
    """
    SELECT to_char(start, pattern), start AT TIME ZONE 'UTC' FROM (
        SELECT date_trunc(:unit, clock_timestamp() AT TIME ZONE 'UTC') AS start,
            CASE CAST(:unit AS text) WHEN 'day' THEN 'YYYY-MM-DD' ELSE 'YYYY-MM' END AS pattern) AS running
    """
)
MARK = """
    UPDATE generations AS g SET counted = coalesce(counted, '[]') || jsonb_build_array(CAST(:mark AS jsonb))
    WHERE g.account_id = :account_id AND g.env = :env AND g.created_at >= :start AND {open} AND {scoped}
        AND NOT EXISTS (SELECT FROM jsonb_array_elements(coalesce(g.counted, '[]')) AS c WHERE c = CAST(:mark AS jsonb))
"""
COUNT = """
    SELECT CAST(coalesce(sum(g.charged_tokens), 0) AS bigint) AS spent,
        CAST(coalesce(sum(g.hold_tokens) FILTER (WHERE {open}), 0) AS bigint) AS held
    FROM generations g
    WHERE g.account_id = :account_id AND g.env = :env AND g.created_at >= :start AND {scoped}
"""


@dataclass(frozen=True, slots=True)
class Period:
    """name: `2027-01-31` or `2027-01`. start: its first moment, UTC."""

    name: str
    start: datetime


async def seed_budget(tx: AsyncConnection, account_id: UUID, env: str, scope: Scope, unit: str) -> Budget:
    """Count anew what `scope` has spent and holds in the running `unit`, `day` or `month`. `tx` has the wallet locked.

    A row that is there from before is written over: nothing was counted on it while there was no budget.
    """
    period = Period(*(await tx.execute(PERIOD, {"unit": unit})).one())
    names: dict[str, Any] = {"account_id": account_id, "env": env, "start": period.start}
    if scope.kind != "account":
        names["scope_id"] = scope.id
    parts = {"open": OPEN, "scoped": SCOPED[scope.kind]}
    mark = {"mark": to_mark(scope, period)}
    await tx.execute(text(MARK.format(**parts)), names | mark)
    spent, held = (await tx.execute(text(COUNT.format(**parts)), names)).one()
    budget = Budget(scope.kind, scope.id, period.name, spent, held)
    await write_budget(tx, account_id, env, budget)
    return budget


def to_mark(scope: Scope, period: Period) -> str:
    """What `counted` holds for each budget: a list of three, here as JSON."""
    return to_json([scope.kind, scope.id, period.name]).decode()
