"""What an operator does to allowances: set, list and end them.

All raise NotFound; setting one also InvalidRequest, and Conflict for a closed account.
"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.errors import NotFound
from imagegate.identity import accounts
from imagegate.identity.accounts import Account
from imagegate.identity.audit import Actor, record
from imagegate.ids import parse_public_id, public_id
from imagegate.ledger import allowances, holds
from imagegate.ledger.allowances import Allowance


def allowance_json(allowance: Allowance, account: Account) -> dict[str, Any]:
    return {
        "id": allowance.name,
        "account": account.name,
        "env": allowance.env,
        "period": allowance.period,
        "tokens": allowance.tokens,
        "carry_over": allowance.carry_over,
        "created_at": timestamp(allowance.created_at),
        "ended_at": timestamp(allowance.ended_at),
    }


async def set_allowance(
    tx: AsyncConnection, account: str, env: str, period: str, tokens: int, *, carry_over: bool, actor: Actor
) -> dict[str, Any]:
    """See `allowances.set_allowance`. account: `acc_…` or a name. Gives the allowance as JSON."""
    owner = await accounts.read_account(tx, account)
    await holds.touch_wallets(tx, owner.id, env)
    await accounts.require_open(tx, owner.id)
    made = await allowances.set_allowance(tx, owner.id, env, period, tokens, carry_over=carry_over)
    shown = allowance_json(made, owner)
    await record(tx, actor, "allowances.set", made.name, account_id=owner.id, detail=shown)
    return shown


async def end_allowance(tx: AsyncConnection, text: str, actor: Actor) -> dict[str, Any]:
    """See `allowances.end_allowance`. text: `alw_…`. Gives the allowance as JSON."""
    allowance_id = parse_public_id("alw", text)
    found = await allowances.find_allowance(tx, allowance_id) if allowance_id else None
    if found is None:
        raise NotFound("There is no such allowance. List them: imagegate allowances list")
    await holds.touch_wallets(tx, found.account_id, found.env)
    before = await allowances.find_allowance(tx, found.id)
    ended = await allowances.end_allowance(tx, found.account_id, found.env, found.id)
    owner = await accounts.read_account(tx, public_id("acc", found.account_id))
    shown = allowance_json(ended, owner)
    if before is not None and before.ended_at is None:
        await record(tx, actor, "allowances.end", ended.name, account_id=owner.id, detail=shown)
    return shown


async def list_allowances(
    connection: AsyncConnection, account: str | None = None, *, ended: bool = False
) -> list[dict[str, Any]]:
    """Of one account or of all, oldest first; with those that have ended or without."""
    owner = await accounts.read_account(connection, account) if account is not None else None
    listed = await allowances.list_allowances(connection, owner.id if owner else None, ended=ended)
    owners = {}
    for account_id in {found.account_id for found in listed}:
        owners[account_id] = await accounts.read_account(connection, public_id("acc", account_id))
    return [allowance_json(found, owners[found.account_id]) for found in listed]
