"""What ten million generations in the database cost the next one: two databases on one server, turn and turn about.

The rows are copies of what the gateway itself wrote, with ids and times of their own, so they have its width.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from benchmarks.gateway import serving
from benchmarks.peers.measuring import SMALL, Lab, Part, measure_fast
from benchmarks.peers.ours import NAME, Database, House, furnish, our_peer, prove
from benchmarks.processes import BenchmarkError, capture
from benchmarks.scenarios import Scenario, Target, run_load
from imagegate.db.base import open_engine
from imagegate.settings import Settings

BATCH = 250_000
DAYS = 25
"""The rows' age. Prompts and pictures are kept for thirty days, so nothing is due for removal while it is measured."""
STATEMENT_S = 3600
FULL = "imagegate, full"

FUNCTIONS = (
    f"""
    CREATE FUNCTION seed_at(i bigint, last bigint) RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT now() - interval '1 hour' - (last - i) * interval '{DAYS} days' / last $$
    """,
    """
    CREATE FUNCTION seed_id(i bigint, last bigint) RETURNS uuid LANGUAGE sql STABLE AS
    $$ SELECT (lpad(to_hex(floor(1000 * extract(epoch FROM seed_at(i, last)))::bigint), 12, '0')
        || '70008000' || lpad(to_hex(i), 12, '0'))::uuid $$
    """,
)
ID, AT = "seed_id(i, :rows)", "seed_at(i, :rows)"
COPIES: Mapping[str, Mapping[str, str]] = {
    "generations": {
        "id": ID,
        "created_at": AT,
        "settled_at": AT,
        "expires_at": AT,
        "quarter_hour": f"floor(extract(epoch FROM {AT}) / 900)::integer",
        "fingerprint": "sha256(i::text::bytea)",
        "counted": "NULL",
    },
    "attempts": {"generation_id": ID, "started_at": AT},
    "images": {"generation_id": ID, "object": "t.object || i", "expires_at": "now() + interval '30 days'"},
    "transfers": {
        "id": ID,
        "generation_id": ID,
        "at": AT,
        "wallet_version": "w.version + i - :first + 1",
        "balance_after": "w.posted_tokens - (i - :first + 1) * t.tokens",
    },
}
PAID = """
    UPDATE wallets w SET version = version + :many, revision = revision + :many,
        posted_tokens = posted_tokens - :many * (SELECT tokens FROM transfers WHERE kind = 'capture' LIMIT 1)
    WHERE w.account_id = (SELECT account_id FROM transfers WHERE kind = 'capture' LIMIT 1) AND w.env = 'live'
"""


@dataclass(frozen=True, slots=True)
class Growth:
    """Requests/s, medians over the turns, and the median of their ratios within a turn."""

    rows: int
    empty_per_s: float
    full_per_s: float
    change: float


def measure_growth(
    lab: Lab, database: Database, house: House, rows: int, folder: Path
) -> tuple[Growth, Part]:
    """Fill a database of its own with `rows` generations of the one hot wallet, and ask both in turn."""
    full = furnish(database, "grown", folder, lab.bench.say)
    with serving(full.gateway.over(lab.fast_url("small")), cores=lab.cores.gateway) as served:
        write_one(lab, full, served.port)
    asyncio.run(fill(full.owner_url, rows, lab.bench.say))
    lab.bench.say("rolling up")
    capture(full.gateway.to_command("db", "rollup"), timeout_s=STATEMENT_S)
    asyncio.run(tidy(full.owner_url))
    part = measure_fast(lab, (our_peer(house), our_peer(full, FULL)), SMALL)
    lab.bench.say("ledger verify of the full database")
    prove(full)
    empty, filled = part.of(NAME), part.of(FULL)
    if not filled:
        raise BenchmarkError(f"the full database was not measured: {part.failed}")
    pairs = [b.load.requests_per_s / a.load.requests_per_s for a, b in zip(empty, filled, strict=True)]
    return (
        Growth(
            rows=rows,
            empty_per_s=median(sample.load.requests_per_s for sample in empty),
            full_per_s=median(sample.load.requests_per_s for sample in filled),
            change=median(pairs) - 1,
        ),
        part,
    )


def write_one(lab: Lab, house: House, port: int) -> None:
    """One real generation, to be copied."""
    url = f"http://127.0.0.1:{port}/v1/images/generations"
    target = Target(FULL, url, (f"authorization: Bearer {house.key}",))
    load = run_load(lab.bench, target, Scenario("one", "small", 0, 1, 30.0, count=1))
    if load.errors or load.answers != 1:
        raise BenchmarkError(f"the one generation to copy was not made: {dict(load.errors)}")


async def fill(owner_url: str, rows: int, say: Callable[[str], None]) -> None:
    engine = open_engine(owner_url, Settings(), statement_timeout_s=STATEMENT_S)
    try:
        async with engine.begin() as tx:
            for function in FUNCTIONS:
                await tx.execute(text(function))
            statements = [copy_statement(table, await columns_of(tx, table)) for table in COPIES]
        for first in range(1, rows + 1, BATCH):
            last = min(first + BATCH - 1, rows)
            await copy(engine, statements, {"rows": rows, "first": first, "last": last})
            say(f"{last:,} of {rows:,} generations")
    finally:
        await engine.dispose()


async def columns_of(tx: AsyncConnection, table: str) -> list[str]:
    found = await tx.execute(
        text(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = :table AND table_schema = 'public' ORDER BY ordinal_position"
        ),
        {"table": table},
    )
    return list(found.scalars())


def copy_statement(table: str, columns: Sequence[str]) -> str:
    """Every column as the one real row has it, but for those of `COPIES`."""
    own = COPIES[table]
    values = ", ".join(own.get(column, f't."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    which = "WHERE kind = 'capture'" if table == "transfers" else ""
    return f"""
        INSERT INTO {table} ({names})
        SELECT {values} FROM (SELECT * FROM {table} {which} LIMIT 1) AS t
        JOIN wallets w USING (account_id, env)
        CROSS JOIN generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS i
    """


async def copy(engine: AsyncEngine, statements: Sequence[str], names: Mapping[str, Any]) -> None:
    async with engine.begin() as tx:
        for statement in statements:
            used = {name: value for name, value in names.items() if f":{name}" in statement}
            await tx.execute(text(statement), used)
        await tx.execute(text(PAID), {"many": names["last"] - names["first"] + 1})


async def tidy(owner_url: str) -> None:
    """What PostgreSQL would have done in the months that the rows stand for."""
    engine = open_engine(owner_url, Settings(), statement_timeout_s=STATEMENT_S)
    try:
        async with engine.connect() as connection:
            apart = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await apart.execute(text("VACUUM (ANALYZE)"))
            await apart.execute(text("CHECKPOINT"))
    finally:
        await engine.dispose()
