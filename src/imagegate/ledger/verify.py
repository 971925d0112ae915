"""Proves the wallet: checks the ledger's invariants over one snapshot and names every row that breaks one.

The ledger's one reader of generations. Each check is one query that gives the offenders; a row of the answer is a
violation. Expected on a database that is in use as well: what is under way breaks nothing.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Check:
    invariant: str
    says: str
    query: str


@dataclass(frozen=True, slots=True)
class Violation:
    invariant: str
    says: str
    row: dict[str, Any]


@dataclass(slots=True)
class Report:
    """checked: rows of each table that were looked at."""

    checked: dict[str, int] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        found = [{"invariant": v.invariant, "says": v.says, "row": v.row} for v in self.violations]
        return {"ok": self.ok, "checked": self.checked, "violations": found, "warnings": self.warnings}


CHECKS = (
    Check(
        "I1",
        "the ledger accounts of an account sum to zero",
        """
        SELECT account_id, env, sum(signed) AS tokens FROM (
            SELECT account_id, env, debit AS name, -tokens AS signed FROM transfers
            UNION ALL SELECT account_id, env, credit, tokens FROM transfers) sides
        GROUP BY account_id, env HAVING sum(signed) <> 0
        """,
    ),
    Check(
        "I2",
        "a wallet's posted tokens are the sum of its transfers and the balance of the last of them",
        """
        SELECT w.account_id, w.env, w.posted_tokens, w.version, t.total, t.versions, t.last_balance
        FROM wallets w LEFT JOIN (
            SELECT account_id, env, sum(CASE WHEN credit = 'wallet' THEN tokens ELSE -tokens END) AS total,
                count(*) AS versions, max(wallet_version) AS top,
                (array_agg(balance_after ORDER BY wallet_version DESC))[1] AS last_balance
            FROM transfers WHERE wallet_version IS NOT NULL GROUP BY account_id, env) t USING (account_id, env)
        WHERE w.posted_tokens <> coalesce(t.total, 0) OR w.posted_tokens <> coalesce(t.last_balance, 0)
            OR w.version <> coalesce(t.versions, 0) OR w.version <> coalesce(t.top, 0)
        """,
    ),
    Check(
        "I2",
        "each transfer's balance follows from the one before it",
        """
        SELECT account_id, env, id, wallet_version, balance_after FROM (
            SELECT account_id, env, id, wallet_version, balance_after,
                sum(CASE WHEN credit = 'wallet' THEN tokens ELSE -tokens END)
                    OVER (PARTITION BY account_id, env ORDER BY wallet_version) AS running
            FROM transfers WHERE wallet_version IS NOT NULL) t WHERE running <> balance_after
        """,
    ),
    Check(
        "I3",
        "a wallet's held tokens are the holds of its open generations",
        """
        SELECT w.account_id, w.env, w.held_tokens, coalesce(g.holds, 0) AS holds
        FROM wallets w LEFT JOIN (
            SELECT account_id, env, sum(hold_tokens) AS holds FROM generations
            WHERE state IN ('queued', 'running', 'in_doubt') GROUP BY account_id, env) g USING (account_id, env)
        WHERE w.held_tokens <> coalesce(g.holds, 0)
        """,
    ),
    Check(
        "I4",
        "held tokens lie between zero and the posted tokens",
        "SELECT account_id, env, posted_tokens, held_tokens FROM wallets "
        "WHERE held_tokens < 0 OR held_tokens > posted_tokens",
    ),
    Check(
        "I5",
        "a captured generation has at most one capture, of exactly what it was charged, within its hold",
        """
        SELECT g.account_id, g.env, g.id, g.hold_tokens, g.charged_tokens, t.n, t.tokens
        FROM generations g LEFT JOIN (
            SELECT account_id, env, generation_id, count(*) AS n, sum(tokens) AS tokens FROM transfers
            WHERE kind = 'capture' GROUP BY account_id, env, generation_id) t
            ON t.account_id = g.account_id AND t.env = g.env AND t.generation_id = g.id
        WHERE g.charged_tokens > g.hold_tokens OR coalesce(t.n, 0) > 1
            OR g.charged_tokens <> coalesce(t.tokens, 0)
        """,
    ),
    Check(
        "I6",
        "only a captured generation has a capture, and refunds stay within it",
        """
        SELECT t.account_id, t.env, t.generation_id, g.state, t.captured, t.refunded FROM (
            SELECT account_id, env, generation_id,
                sum(tokens) FILTER (WHERE kind = 'capture') AS captured,
                sum(tokens) FILTER (WHERE kind = 'refund') AS refunded
            FROM transfers WHERE generation_id IS NOT NULL GROUP BY account_id, env, generation_id) t
        LEFT JOIN generations g ON g.account_id = t.account_id AND g.env = t.env AND g.id = t.generation_id
        WHERE g.state IS DISTINCT FROM 'captured' OR coalesce(t.refunded, 0) > coalesce(t.captured, 0)
        """,
    ),
    Check(
        "I7",
        "a captured generation has at least one image, any other has none",
        """
        SELECT g.account_id, g.env, g.id, g.state, count(i.idx) AS images
        FROM generations g LEFT JOIN images i
            ON i.account_id = g.account_id AND i.env = g.env AND i.generation_id = g.id
        GROUP BY g.account_id, g.env, g.id, g.state HAVING (g.state = 'captured') <> (count(i.idx) > 0)
        """,
    ),
    Check(
        "I9",
        "a generation whose answer was an error was charged nothing",
        "SELECT account_id, env, id, state, answer_status, charged_tokens FROM generations "
        "WHERE (state = 'voided' AND charged_tokens <> 0) OR (state = 'captured' AND answer_status <> 200)",
    ),
    Check(
        "I12",
        "a generation's price version is one the model, or the model it stands for, has had",
        """
        SELECT account_id, env, id, model, price_version FROM generations g
        WHERE NOT EXISTS (SELECT 1 FROM prices p WHERE p.version = g.price_version)
            OR (quote ->> 'price_version')::int <> price_version
        """,
    ),
    Check(
        "I14",
        "every generation ends within its time, a day where a provider can be polled",
        """
        SELECT account_id, env, id, state, expires_at FROM generations
        WHERE state IN ('queued', 'running', 'in_doubt') AND expires_at + interval '24 hours 1 minute' < now()
        """,
    ),
    Check(
        "I15",
        "a transfer, its wallet, its generation and its key belong to one account and environment",
        """
        (SELECT account_id, env, generation_id AS id, 'no generation' AS missing FROM transfers
            WHERE generation_id IS NOT NULL
        EXCEPT SELECT account_id, env, id, 'no generation' FROM generations)
        UNION ALL
        (SELECT account_id, env, key_id, 'no key' FROM generations
        EXCEPT SELECT account_id, env, id, 'no key' FROM api_keys)
        """,
    ),
    Check(
        "I16",
        "tokens are whole: no column of money is anything but an integer",
        """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = current_schema() AND column_name LIKE '%tokens' AND data_type <> 'bigint'
        """,
    ),
    Check(
        "I17",
        "a top-up applies once per account, source and external reference",
        """
        SELECT account_id, env, source, external_ref, count(*) AS n FROM transfers WHERE external_ref IS NOT NULL
        GROUP BY account_id, env, source, external_ref HAVING count(*) > 1
        """,
    ),
)

COUNTS = ("wallets", "transfers", "generations", "images", "attempts")
MUTABLE = "SELECT has_table_privilege('transfers', 'UPDATE') OR has_table_privilege('transfers', 'DELETE')"


async def verify(connection: AsyncConnection) -> Report:
    """Run every check. `connection` is in one REPEATABLE READ snapshot, which the caller began."""
    report = Report()
    # Fresh tables have no statistics yet, and a nested loop over them takes for ever.
    await connection.execute(text("SET LOCAL enable_nestloop = off"))
    for table in COUNTS:
        counted = await connection.execute(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 a constant
        report.checked[table] = int(counted.scalar_one())
    for check in CHECKS:
        rows = (await connection.execute(text(f"{check.query} LIMIT {MOST_NAMED}"))).mappings()
        report.violations += [Violation(check.invariant, check.says, plain(row)) for row in rows]
    if (await connection.execute(text(MUTABLE))).scalar_one():
        report.warnings.append(
            "I13: this database role may change or delete transfers. Run the gateway as a role like imagegate_app, "
            "which may only read and append them."
        )
    return report


def plain(row: Any) -> dict[str, Any]:
    return {name: value if isinstance(value, int | str | None) else str(value) for name, value in row.items()}
