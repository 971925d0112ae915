"""Balances as an operator looks at them: every wallet at once, and one of them held against its transfers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.ledger.holds import Wallet
from imagegate.ledger.tables import wallets

SUMS = text(
    """
    SELECT w.posted_tokens, w.held_tokens, coalesce((
            SELECT sum(CASE WHEN t.credit = 'wallet' THEN t.tokens ELSE -t.tokens END) FROM transfers t
            WHERE t.account_id = w.account_id AND t.env = w.env AND 'wallet' IN (t.credit, t.debit)
        ), 0)::bigint AS moved,
        coalesce((SELECT sum(g.hold_tokens) FROM generations g WHERE g.account_id = w.account_id AND g.env = w.env
            AND g.state IN ('queued', 'running', 'in_doubt')), 0)::bigint AS holds
    FROM wallets w WHERE w.account_id = :account_id AND w.env = :env
    """
)

THEN = text(
    """
    SELECT coalesce((
            SELECT t.balance_after FROM transfers t WHERE t.account_id = :account_id AND t.env = :env
                AND t.id < b.id AND t.wallet_version IS NOT NULL ORDER BY t.id DESC LIMIT 1
        ), 0) AS tokens
    FROM unnest(CAST(:bounds AS uuid[])) WITH ORDINALITY AS b(id, n) ORDER BY b.n
    """
)


@dataclass(frozen=True, slots=True)
class Sums:
    """moved_tokens: all transfers into the wallet less those out of it. hold_tokens: of its open generations."""

    posted_tokens: int
    moved_tokens: int
    held_tokens: int
    hold_tokens: int

    @property
    def ok(self) -> bool:
        """Nothing is left over on either side."""
        return self.posted_tokens == self.moved_tokens and self.held_tokens == self.hold_tokens


async def list_wallets(connection: AsyncConnection, env: str | None = None) -> list[Wallet]:
    """Of all accounts; env None: the live and the test ones."""
    query = select(wallets).order_by(wallets.c.account_id, wallets.c.env)
    if env is not None:
        query = query.where(wallets.c.env == env)
    return [Wallet(*row) for row in await connection.execute(query)]


async def wallets_of(connection: AsyncConnection, account_ids: Sequence[UUID]) -> list[Wallet]:
    """The live and the test wallets of these accounts."""
    query = select(wallets).where(wallets.c.account_id.in_(account_ids))
    return [Wallet(*row) for row in await connection.execute(query)]


async def read_balances(
    connection: AsyncConnection, account_id: UUID, env: str, moments: Sequence[datetime]
) -> list[int]:
    """The tokens that the wallet had at each moment, held ones too.

    One look-up for each moment, however much was moved: ids of transfers begin with the millisecond they were made in.
    """
    bounds = [UUID(int=(int(moment.timestamp() * 1000) + 1) << 80) for moment in moments]
    rows = await connection.execute(THEN, {"account_id": account_id, "env": env, "bounds": bounds})
    return [row.tokens for row in rows]


async def sum_up(connection: AsyncConnection, account_id: UUID, env: str) -> Sums:
    """One statement, so that all of it is one moment. Reads every transfer of the wallet."""
    row = (await connection.execute(SUMS, {"account_id": account_id, "env": env})).one()
    return Sums(row.posted_tokens, row.moved, row.held_tokens, row.holds)
