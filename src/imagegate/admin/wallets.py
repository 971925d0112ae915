"""What an operator does to wallets: look into them, top them up, correct them, read their statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.errors import InvalidRequest
from imagegate.identity import accounts
from imagegate.identity.audit import Actor, record, said
from imagegate.ids import public_id
from imagegate.ledger import balances, statement, wallets
from imagegate.ledger.holds import Wallet
from imagegate.ledger.statement import Line
from imagegate.ledger.wallets import Funding
from imagegate.settings import Settings

ENVS = ("live", "test")


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """The wallet after it. applied: False when its external_ref had been applied before, and nothing was added."""

    wallet: Wallet
    applied: bool


def wallet_json(account: str, wallet: Wallet, settings: Settings) -> dict[str, Any]:
    """`available` is what the tokens are worth in the currency, for reading; tokens are what counts."""
    return {
        "account": account,
        "env": wallet.env,
        "posted_tokens": wallet.posted_tokens,
        "held_tokens": wallet.held_tokens,
        "available_tokens": wallet.available_tokens,
        "currency": settings.currency,
        "available": wallet.available_tokens / settings.tokens_per_currency_unit,
    }


def line_json(line: Line) -> dict[str, Any]:
    """`tokens`: above zero into the wallet, below zero out of it. `version` counts the wallet's transfers."""
    return {
        "id": public_id("tr", line.id),
        "version": line.version,
        "at": timestamp(line.at),
        "kind": line.kind,
        "tokens": line.tokens,
        "balance_after": line.balance_after,
        "generation_id": public_id("gen", line.generation_id) if line.generation_id else None,
        "cause": line.cause,
        "price_version": line.price_version,
        "source": line.source,
        "external_ref": line.external_ref,
        "reason": line.reason,
        "actor": line.actor,
    }


async def get_wallet(connection: AsyncConnection, account: str, env: str) -> Wallet:
    """account: `acc_…` or a name. Raises NotFound."""
    return await wallets.get_wallet(connection, (await accounts.read_account(connection, account)).id, env)


async def top_up(
    tx: AsyncConnection, account: str, env: str, tokens: int, *, actor: Actor, funding: Funding
) -> ToppedUp:
    """Add `tokens` to a wallet, which stays locked until `tx` ends. account: `acc_…` or a name.

    Raises InvalidRequest, NotFound, and Conflict for a closed account or an external_ref seen with other tokens.
    """
    account_id = (await accounts.read_account(tx, account)).id
    before = await wallets.lock_wallet(tx, account_id, env)
    owner = await accounts.require_open(tx, account_id)
    after = await wallets.top_up(
        tx, account_id, env, tokens, reason=said(actor.reason), actor=actor.name, funding=funding
    )
    applied = after.version != before.version
    if applied:
        detail = {
            "env": env,
            "tokens": tokens,
            "source": funding.source,
            "external_ref": funding.external_ref,
        }
        await note(tx, actor, "wallets.top_up", owner, detail, after)
    return ToppedUp(after, applied)


async def adjust(tx: AsyncConnection, account: str, env: str, tokens: int, *, actor: Actor) -> Wallet:
    """Correct a wallet by `tokens`, above or below zero; a closed account's too. account: `acc_…` or a name.

    Raises InvalidRequest, NotFound, and Conflict when the wallet has fewer tokens than are to be taken.
    """
    owner = await accounts.read_account(tx, account)
    reason = said(actor.reason)
    after = await wallets.adjust(tx, owner.id, env, tokens, reason=reason, actor=actor.name)
    await note(tx, actor, "wallets.adjust", owner, {"env": env, "tokens": tokens}, after)
    return after


async def note(
    tx: AsyncConnection,
    actor: Actor,
    action: str,
    owner: accounts.Account,
    detail: dict[str, Any],
    after: Wallet,
) -> None:
    detail |= {"posted_tokens": after.posted_tokens}
    await record(tx, actor, action, owner.public_id, account_id=owner.id, detail=detail)


async def show_balances(
    connection: AsyncConnection, account: str, env: str, since: datetime, until: datetime, points: int
) -> list[dict[str, Any]]:
    """What a wallet had at `points` (2 … 500) moments, the same time apart, oldest first; held tokens are in it.

    Raises InvalidRequest and NotFound.
    """
    if since >= until:
        raise InvalidRequest("since must lie before until.", param="since")
    owner = await accounts.read_account(connection, account)
    step = (until - since) / (points - 1)
    moments = [*(since + step * n for n in range(points - 1)), until]
    tokens = await balances.read_balances(connection, owner.id, env, moments)
    pairs = zip(moments, tokens, strict=True)
    return [{"at": timestamp(at), "posted_tokens": balance} for at, balance in pairs]


async def page_statement(
    connection: AsyncConnection, account: str, env: str, after: int | None, limit: int
) -> Sequence[Line]:
    """At most `limit` transfers older than the one of version `after`, newest first. Raises NotFound."""
    wallet = await get_wallet(connection, account, env)
    return await statement.read_statement(connection, wallet.account_id, env, after=after, limit=limit)
