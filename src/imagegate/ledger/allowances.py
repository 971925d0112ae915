"""Allowances: tokens granted anew each day or month, and what is left of them taken back when the next ones come.

A wallet has one balance: what is spent counts as spent from the allowance first. All of it happens under the
wallet's lock and is read from its transfers, so it does not matter how many processes look for what is due, or when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.errors import InvalidRequest, NotFound
from imagegate.ids import new_id, public_id
from imagegate.ledger.holds import Wallet, move
from imagegate.ledger.tables import allowances
from imagegate.ledger.wallets import ALLOWANCE, MAX_TOKENS, lock_wallet, write

PERIODS = ("day", "month")
ACTOR = "allowances"
MOST_AT_ONCE = 1000

# Not now(), when the transaction began: it may have waited for the wallet over midnight.
CLOCK = text(
    """
    SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC',
        CASE CAST(:period AS text) WHEN 'day' THEN 'YYYY-MM-DD' ELSE 'YYYY-MM' END)
    """
)
LAST_GRANT = text(
    """
    SELECT tokens, external_ref, wallet_version FROM transfers
    WHERE account_id = :account_id AND env = :env AND source = 'allowance'
        AND external_ref BETWEEN :first AND :last AND kind = 'grant'
    ORDER BY external_ref DESC LIMIT 1
    """
)
NET_SPENT = text(
    """
    SELECT CAST(coalesce(sum(CASE kind WHEN 'capture' THEN tokens ELSE -tokens END), 0) AS bigint) FROM transfers
    WHERE account_id = :account_id AND env = :env AND wallet_version > :version AND kind IN ('capture', 'refund')
    """
)
DUE = text(
    """
    SELECT a.* FROM allowances a JOIN accounts o ON o.id = a.account_id AND o.closed_at IS NULL
    WHERE a.ended_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM transfers t WHERE t.account_id = a.account_id AND t.env = a.env AND t.source = 'allowance'
            AND t.external_ref = 'alw_' || replace(a.id::text, '-', '') || ':' || to_char(
                now() AT TIME ZONE 'UTC', CASE a.period WHEN 'day' THEN 'YYYY-MM-DD' ELSE 'YYYY-MM' END))
    ORDER BY random() LIMIT :most
    """
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """`tokens` granted at the beginning of each `period`, `day` or `month`, both in UTC.

    carry_over: what is left of a grant stays in the wallet. Otherwise it goes back when the next one comes.
    """

    account_id: UUID
    env: str
    id: UUID
    period: str
    tokens: int
    carry_over: bool
    created_at: datetime
    ended_at: datetime | None

    @property
    def name(self) -> str:
        return public_id("alw", self.id)


def remainder(granted: int, net_spent: int, available: int) -> int:
    """What goes back of a grant. Held tokens stay, and refunds of what earlier grants paid do not count."""
    return min(max(0, granted - max(0, net_spent)), available)


async def set_allowance(
    tx: AsyncConnection, account_id: UUID, env: str, period: str, tokens: int, *, carry_over: bool
) -> Allowance:
    """Make the wallet's allowance per `period`, or change it; a wallet has at most one for days and one for months.

    A new one is granted at once, for the period that runs. A changed amount counts from the next period on.
    tokens: 1 … 2^53-1. The wallet stays locked until `tx` ends. Raises InvalidRequest and NotFound.
    """
    if period not in PERIODS:
        raise InvalidRequest("An allowance is per day or per month.", param="period")
    if not 0 < tokens <= MAX_TOKENS:
        raise InvalidRequest(f"An allowance is between 1 and {MAX_TOKENS} tokens.", param="tokens")
    wallet = await lock_wallet(tx, account_id, env)
    a = allowances.c
    mine = (a.account_id == account_id, a.env == env, a.period == period, a.ended_at.is_(None))
    values = {"tokens": tokens, "carry_over": carry_over}
    changed = update(allowances).where(*mine).values(values).returning(*a)
    row = (await tx.execute(changed)).one_or_none()
    if row is None:
        named = {"account_id": account_id, "env": env, "id": new_id(), "period": period}
        row = (await tx.execute(insert(allowances).values(**named, **values).returning(*a))).one()
    allowance = Allowance(*row)
    await _advance(tx, wallet, allowance)
    return allowance


async def end_allowance(tx: AsyncConnection, account_id: UUID, env: str, allowance_id: UUID) -> Allowance:
    """Grant no more; unless it carries over, what is left of the last grant goes back now. Twice is no error.

    The wallet stays locked until `tx` ends. Raises NotFound.
    """
    wallet = await lock_wallet(tx, account_id, env)
    allowance = await _read(tx, account_id, env, allowance_id)
    if allowance is None:
        raise NotFound("There is no such allowance. List them: imagegate allowances list")
    if allowance.ended_at is not None:
        return allowance
    last = await _last_grant(tx, allowance)
    if last is not None and not allowance.carry_over:
        after, moved = await _expire(tx, wallet, allowance, last)
        if moved:
            await write(tx, [after], moved)
    a = allowances.c
    mine = (a.account_id == account_id, a.env == env, a.id == allowance_id)
    ended = update(allowances).where(*mine).values(ended_at=text("now()")).returning(*a)
    return Allowance(*(await tx.execute(ended)).one())


async def find_allowance(connection: AsyncConnection, allowance_id: UUID) -> Allowance | None:
    row = (await connection.execute(select(allowances).where(allowances.c.id == allowance_id))).one_or_none()
    return Allowance(*row) if row else None


async def list_allowances(
    connection: AsyncConnection, account_id: UUID | None = None, *, ended: bool = False
) -> Sequence[Allowance]:
    """Oldest first; of all accounts or of one, with those that have ended or without."""
    query = select(allowances).order_by(allowances.c.id)
    if account_id is not None:
        query = query.where(allowances.c.account_id == account_id)
    if not ended:
        query = query.where(allowances.c.ended_at.is_(None))
    return [Allowance(*row) for row in await connection.execute(query)]


async def run_due(tx: AsyncConnection, account_id: UUID, env: str, allowance_id: UUID) -> int:
    """Grant what is due of one allowance, after taking back what is left of its last grant.

    Returns the tokens granted, 0 when nothing is due. The wallet stays locked until `tx` ends.
    """
    wallet = await lock_wallet(tx, account_id, env)
    allowance = await _read(tx, account_id, env, allowance_id)
    if allowance is None or allowance.ended_at is not None:
        return 0
    return await _advance(tx, wallet, allowance)


async def grant_due(engine: AsyncEngine) -> int:
    """Grant what is due of all allowances of open accounts, each in a transaction of its own.

    Any number of processes may do this at once. Nothing due costs one query of one index look-up per allowance;
    at most 1,000 are granted at a time, the rest next time. Returns how many grants were made.
    """
    async with engine.connect() as connection:
        due = [Allowance(*row) for row in await connection.execute(DUE, {"most": MOST_AT_ONCE})]
    grants = 0
    for allowance in due:
        async with engine.begin() as tx:
            grants += await run_due(tx, allowance.account_id, allowance.env, allowance.id) > 0
    return grants


@dataclass(frozen=True, slots=True)
class Grant:
    tokens: int
    period: str
    wallet_version: int


async def _advance(tx: AsyncConnection, wallet: Wallet, allowance: Allowance) -> int:
    """The tokens granted. A wallet that is all but full is granted what it can still take."""
    period = (await tx.execute(CLOCK, {"period": allowance.period})).scalar_one()
    last = await _last_grant(tx, allowance)
    if last is not None and last.period >= period:
        return 0
    moved: list[dict[str, Any]] = []
    after = wallet
    if last is not None and not allowance.carry_over:
        after, moved = await _expire(tx, wallet, allowance, last)
    tokens = min(allowance.tokens, MAX_TOKENS - after.posted_tokens)
    if tokens > 0:
        told = _told(f"{allowance.name}:{period}", f"allowance of the {allowance.period} {period}")
        after, grant = move(after, debit="promo", credit="wallet", tokens=tokens, kind="grant", **told)
        moved.append(grant)
        await write(tx, [after], moved)
    return tokens


async def _expire(
    tx: AsyncConnection, wallet: Wallet, allowance: Allowance, last: Grant
) -> tuple[Wallet, list[dict[str, Any]]]:
    """The wallet without what is left of its last grant, and the transfer, if there is any. Nothing is written."""
    since = {"account_id": wallet.account_id, "env": wallet.env, "version": last.wallet_version}
    net_spent = (await tx.execute(NET_SPENT, since)).scalar_one()
    tokens = remainder(last.tokens, net_spent, wallet.available_tokens)
    if tokens == 0:
        return wallet, []
    told = _told(f"{allowance.name}:{last.period}:expire", f"left of the {allowance.period} {last.period}")
    after, expiry = move(wallet, debit="wallet", credit="promo", tokens=tokens, kind="expire", **told)
    return after, [expiry]


def _told(external_ref: str, reason: str) -> dict[str, Any]:
    return {"source": ALLOWANCE, "external_ref": external_ref, "reason": reason, "actor": ACTOR}


async def _read(tx: AsyncConnection, account_id: UUID, env: str, allowance_id: UUID) -> Allowance | None:
    found = await find_allowance(tx, allowance_id)
    return found if found and (found.account_id, found.env) == (account_id, env) else None


async def _last_grant(tx: AsyncConnection, allowance: Allowance) -> Grant | None:
    names = {"account_id": allowance.account_id, "env": allowance.env}
    period = {"first": f"{allowance.name}:0", "last": f"{allowance.name}:9999-99-99:z"}
    row = (await tx.execute(LAST_GRANT, names | period)).one_or_none()
    if row is None:
        return None
    return Grant(row.tokens, row.external_ref.rpartition(":")[2], row.wallet_version)
