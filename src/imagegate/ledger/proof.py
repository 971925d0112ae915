"""How the last proof of the ledger ended, kept where every process can tell it."""

from dataclasses import dataclass
from datetime import datetime

from pydantic_core import from_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.ledger.verify import Report

KEEP = text(
    """
    INSERT INTO instance (name, value) VALUES ('ledger_proof', jsonb_build_object(
        'at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'violations', CAST(:violations AS int), 'seconds', CAST(:seconds AS float8))::text)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value
    """
)
LAST = text("SELECT value FROM instance WHERE name = 'ledger_proof'")


@dataclass(frozen=True, slots=True)
class Proof:
    """The last `verify` of this database, whoever ran it. violations: of each check at most 20 are counted."""

    at: datetime
    violations: int
    seconds: float


async def keep_proof(tx: AsyncConnection, report: Report) -> None:
    """Remember how a verification ended, in a transaction that may write."""
    await tx.execute(KEEP, {"violations": len(report.violations), "seconds": round(report.seconds, 3)})


async def last_proof(connection: AsyncConnection) -> Proof | None:
    """None: this database was never verified."""
    value = (await connection.execute(LAST)).scalar()
    if value is None:
        return None
    kept = from_json(value)
    return Proof(datetime.fromisoformat(kept["at"]), kept["violations"], kept["seconds"])
