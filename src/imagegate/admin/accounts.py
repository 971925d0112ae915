"""What an operator does to accounts: open one, find it, list them, set its policies, close one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.errors import InvalidRequest
from imagegate.identity import accounts, keys
from imagegate.identity.accounts import Account
from imagegate.identity.audit import Actor, record
from imagegate.ledger import holds, wallets
from imagegate.ledger.wallets import Funding
from imagegate.moderation.verdicts import Policy
from imagegate.settings import Settings

SIGNUP = Funding(kind="grant", debit="promo", source="signup")
ALL = 100_000
"""Accounts that `list_accounts` shows at most."""


SHORTEST_H, LONGEST_H = 24, 876_000
"""A request can be repeated for a day, and must find its images then. The longest is a hundred years."""


@dataclass(frozen=True, slots=True)
class Closed:
    """again: it had been closed before, and nothing changed."""

    account: Account
    again: bool


def account_json(account: Account) -> dict[str, Any]:
    return {
        "id": account.public_id,
        "name": account.name,
        "created_at": timestamp(account.created_at),
        "closed_at": timestamp(account.closed_at),
        "moderation": account.moderation,
        "keep_images_h": account.keep_images_h,
        "keep_prompts_h": account.keep_prompts_h,
    }


async def open_account(tx: AsyncConnection, settings: Settings, name: str, actor: Actor) -> Account:
    """A new account with an empty live wallet, and a test wallet that holds its grant. Raises InvalidRequest."""
    account_id = await keys.create_account(tx, name)
    await wallets.create_wallets(tx, account_id)
    granted = settings.test_wallet_tokens
    if granted:
        why = "test tokens of a new account"
        await wallets.top_up(tx, account_id, "test", granted, reason=why, actor=actor.name, funding=SIGNUP)
    account = await accounts.require_open(tx, account_id)
    detail = {"name": name, "test_tokens": granted}
    await record(tx, actor, "accounts.create", account.public_id, account_id=account_id, detail=detail)
    return account


async def close_account(tx: AsyncConnection, who: str, actor: Actor) -> Closed:
    """For good: from the commit on its keys spend nothing; what is being made still settles.

    who: `acc_…` or a name. Raises NotFound.
    """
    account_id = (await accounts.read_account(tx, who)).id
    await holds.touch_wallets(tx, account_id)
    before = await accounts.read_account(tx, who)
    if before.closed_at is not None:
        return Closed(before, again=True)
    account = await accounts.close_account(tx, account_id)
    await record(
        tx, actor, "accounts.close", account.public_id, account_id=account_id, detail={"name": account.name}
    )
    return Closed(account, again=False)


async def set_moderation(tx: AsyncConnection, who: str, policy: Policy | None, actor: Actor) -> Account:
    """The policy of its keys that have none; None: the gateway's. who: `acc_…` or a name. Raises NotFound."""
    before = await accounts.read_account(tx, who)
    account = await accounts.set_moderation(tx, before.id, policy)
    detail = {"name": account.name, "moderation": policy, "before": before.moderation}
    await record(
        tx, actor, "accounts.set_moderation", account.public_id, account_id=account.id, detail=detail
    )
    return account


async def set_retention(
    tx: AsyncConnection, who: str, changes: Mapping[str, int | None], actor: Actor
) -> Account:
    """How long its images and prompts are kept. who: `acc_…` or a name. Raises NotFound, InvalidRequest.

    changes: keep_images_h, keep_prompts_h or both, in hours; None: as the gateway's settings say. The other one stays.
    """
    if not changes:
        raise InvalidRequest("Say how long images are kept, or prompts, or both.", param="keep_images_h")
    for name, hours in changes.items():
        if hours is not None and not SHORTEST_H <= hours <= LONGEST_H:
            text = f"Images and prompts are kept for {SHORTEST_H} to {LONGEST_H} hours."
            raise InvalidRequest(text, param=name)
    before = await accounts.read_account(tx, who)
    account = await accounts.set_retention(tx, before.id, changes)
    was = {name: getattr(before, name) for name in changes}
    detail: dict[str, Any] = {"name": account.name, "before": was, **changes}
    await record(tx, actor, "accounts.set_retention", account.public_id, account_id=account.id, detail=detail)
    return account


async def get_account(connection: AsyncConnection, who: str) -> Account:
    """who: `acc_…` or a name. Raises NotFound."""
    return await accounts.read_account(connection, who)


async def find_account(connection: AsyncConnection, name: str) -> Account | None:
    account_id = await keys.find_account(connection, name)
    return await accounts.read_account(connection, name) if account_id else None


async def list_accounts(connection: AsyncConnection) -> list[Account]:
    """All of them, oldest first."""
    return list(reversed(await accounts.page_accounts(connection, None, ALL)))


async def page_accounts(
    connection: AsyncConnection, after: UUID | None, limit: int, part: str | None = None
) -> Sequence[Account]:
    """At most `limit` accounts older than `after`, newest first. part: of their names, in any case."""
    return await accounts.page_accounts(connection, after, limit, part)
