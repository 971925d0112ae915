"""Budgets as rows: what a scope has spent and holds in a day or a month. The journal counts on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.ledger.tables import budgets


@dataclass(frozen=True, slots=True)
class Budget:
    """period: `2027-01-31` or `2027-01`, in UTC. Whole tokens."""

    scope: str
    scope_id: str
    period: str
    spent_tokens: int
    held_tokens: int


async def write_budget(tx: AsyncConnection, account_id: UUID, env: str, budget: Budget) -> None:
    """Write what was counted anew, over what may be there. `tx` has the wallet locked."""
    named: Mapping[str, object] = {
        "account_id": account_id,
        "env": env,
        "scope": budget.scope,
        "scope_id": budget.scope_id,
        "period": budget.period,
    }
    counted = {"spent_tokens": budget.spent_tokens, "held_tokens": budget.held_tokens}
    statement = insert(budgets).values({**named, **counted})
    key = [budgets.c[name] for name in named]
    await tx.execute(statement.on_conflict_do_update(index_elements=key, set_=counted))


async def list_current_budgets(connection: AsyncConnection, account_id: UUID, env: str) -> list[Budget]:
    """Of the day and the month that run by the database's clock."""
    now = func.timezone("UTC", func.now())
    b = budgets.c
    current = or_(b.period == func.to_char(now, "YYYY-MM-DD"), b.period == func.to_char(now, "YYYY-MM"))
    query = select(b.scope, b.scope_id, b.period, b.spent_tokens, b.held_tokens).where(
        b.account_id == account_id, b.env == env, current
    )
    return [Budget(*row) for row in await connection.execute(query)]
