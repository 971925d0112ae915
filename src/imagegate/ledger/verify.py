"""Proves the wallet: checks the ledger's invariants over one snapshot and names every row that breaks one.

The ledger's one reader of generations. Each check is one query that gives the offenders; a row of the answer is a
violation. Expected on a database that is in use as well: what is under way breaks nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from time import monotonic
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.ledger.verify_checks import CHECKS, Check

__all__ = ["CHECKS", "Check", "Report", "Violation", "verify"]

MOST_NAMED = 20

# Fresh tables have no statistics yet, and then any join but by hashes may take for ever. What one step of a check
# cannot hold in work_mem goes to the database's disk. One process of the database does it all: its memory stays
# bounded, and the gateways keep the other cores.
SETTINGS = (
    "enable_nestloop = off",
    "enable_mergejoin = off",
    "max_parallel_workers_per_gather = 0",
    "work_mem = '64MB'",
)


@dataclass(frozen=True, slots=True)
class Violation:
    invariant: str
    says: str
    row: dict[str, Any]


@dataclass(slots=True)
class Report:
    """checked: rows of each table that were looked at. Of each check at most 20 violations are named."""

    checked: dict[str, int] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        found = [{"invariant": v.invariant, "says": v.says, "row": v.row} for v in self.violations]
        return {
            "ok": self.ok,
            "checked": self.checked,
            "violations": found,
            "warnings": self.warnings,
            "seconds": round(self.seconds, 3),
        }


COUNTS = ("wallets", "transfers", "generations", "images", "attempts", "budgets", "allowances")
MUTABLE = "SELECT has_table_privilege('transfers', 'UPDATE') OR has_table_privilege('transfers', 'DELETE')"


async def verify(
    connection: AsyncConnection, at_work: Callable[[Check], None] = lambda check: None
) -> Report:
    """Run every check. `connection` is in one REPEATABLE READ snapshot, which the caller began.

    at_work: told each check before it runs. A million transfers take about ten seconds; the memory stays bounded.
    """
    report, began = Report(), monotonic()
    for setting in SETTINGS:
        await connection.execute(text(f"SET LOCAL {setting}"))
    for table in COUNTS:
        counted = await connection.execute(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 a constant
        report.checked[table] = int(counted.scalar_one())
    for check in CHECKS:
        at_work(check)
        rows = (await connection.execute(text(f"{check.query} LIMIT {MOST_NAMED}"))).mappings()
        report.violations += [Violation(check.invariant, check.says, plain(row)) for row in rows]
    if (await connection.execute(text(MUTABLE))).scalar_one():
        report.warnings.append(
            "I13: this database role may change or delete transfers. Run the gateway as a role like imagegate_app, "
            "which may only read and append them."
        )
    report.seconds = monotonic() - began
    return report


def plain(row: Any) -> dict[str, Any]:
    """For JSON. Sums of tokens come as decimals, which as text would read 1.00E+6."""
    whole = {name: int(value) if isinstance(value, Decimal) else value for name, value in row.items()}
    return {
        name: value if isinstance(value, int | str | None) else str(value) for name, value in whole.items()
    }
