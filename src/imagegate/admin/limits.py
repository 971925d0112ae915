"""What an operator does to limits: set, show and clear them. Raises InvalidRequest, NotFound and Conflict (closed)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.keys import read_key_id
from imagegate.catalogue.prices import bump_version
from imagegate.errors import InvalidRequest, NotFound
from imagegate.identity import accounts, limit_rows
from imagegate.identity.audit import Actor, record
from imagegate.identity.limit_rows import NAMES, Limits, Scope
from imagegate.ids import public_id
from imagegate.journal.seeding import seed_budget
from imagegate.ledger import budget_rows, holds
from imagegate.ledger.budget_rows import Budget

VERSION = "limits"
"""The name under which changes are counted for processes that hold limits in memory."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Limits and what has been used of their budgets in the day and the month that run."""

    account: str
    env: str
    limits: Limits
    budgets: tuple[Budget, ...] = ()

    def to_json(self) -> dict[str, Any]:
        scope = self.limits.scope
        return {
            "account": self.account,
            "env": self.env,
            "scope": scope.kind,
            "scope_id": shown_scope_id(scope),
            **self.limits.values(),
            "day": self._used("day_tokens", length=len("2027-01-31")),
            "month": self._used("month_tokens", length=len("2027-01")),
        }

    def _used(self, name: str, *, length: int) -> dict[str, Any] | None:
        """What is used of one budget; None without that budget, or when nothing was counted on it in this period."""
        most = getattr(self.limits, name)
        found = [b for b in self.budgets if len(b.period) == length]
        if most is None or not found:
            return None
        used = found[0]
        left = max(0, most - used.spent_tokens - used.held_tokens)
        counted = {"spent_tokens": used.spent_tokens, "held_tokens": used.held_tokens}
        return {"period": used.period, **counted, "left_tokens": left}


def read_scope(*, key: str | None = None, team: str | None = None, app: str | None = None) -> Scope:
    """Whom limits are for: at most one is named; none = the account. key: `key_…` or its UUID."""
    named = {kind: value for kind, value in (("key", key), ("team", team), ("app", app)) if value is not None}
    if len(named) > 1:
        raise InvalidRequest(f"Limits are for one of these at a time: {', '.join(named)}.")
    if key is not None:
        key_id = read_key_id(key)
        if key_id is None:
            raise NotFound("There is no such key. List them: imagegate keys list")
        return Scope("key", str(key_id))
    return Scope(*next(iter(named.items()))) if named else Scope()


def shown_scope_id(scope: Scope) -> str | None:
    if scope.kind == "key":
        return public_id("key", UUID(scope.id))
    return scope.id or None


async def set_limits(
    tx: AsyncConnection, account: str, env: str, scope: Scope, changes: Mapping[str, int | None], actor: Actor
) -> Shown:
    """Set the limits named in `changes` (see `limit_rows.NAMES`), None takes one away; the others stay.

    account: `acc_…` or a name. From the commit on every hold obeys them. A budget that was not there before begins
    with what was spent and is held in its period already; the rows of one that is taken away stay, since open
    generations may count on them.
    """
    owner = await accounts.read_account(tx, account)
    await holds.touch_wallets(tx, owner.id, env)
    await accounts.require_open(tx, owner.id)
    before, after = await limit_rows.write_limits(tx, owner.id, env, scope, changes)
    for name, unit in (("day_tokens", "day"), ("month_tokens", "month")):
        if getattr(after, name) is not None and getattr(before, name) is None:
            await seed_budget(tx, owner.id, env, scope, unit)
    await bump_version(tx, VERSION)
    detail: dict[str, Any] = {"env": env, "before": before.values(), "after": after.values()}
    detail |= {"scope": scope.kind, "scope_id": shown_scope_id(scope)}
    await record(tx, actor, "limits.set", owner.public_id, account_id=owner.id, detail=detail)
    return Shown(owner.name, env, after, await _budgets_of(tx, owner.id, env, scope))


async def clear_limits(
    tx: AsyncConnection,
    account: str,
    env: str,
    scope: Scope,
    actor: Actor,
    only: Iterable[str] = NAMES,
) -> Shown:
    """Take all limits of a scope away, or `only` some. Raises NotFound when it has none of them."""
    owner = await accounts.read_account(tx, account)
    await holds.touch_wallets(tx, owner.id, env)
    names = tuple(only)
    before = await limit_rows.find_limits(tx, owner.id, env, scope)
    limit_rows.check_changes(Scope(), dict.fromkeys(names))
    if before is None or all(getattr(before, name) is None for name in names):
        raise NotFound("There is no such limit. Look: imagegate limits show --account NAME")
    gone, after = await limit_rows.write_limits(tx, owner.id, env, scope, dict.fromkeys(names))
    await bump_version(tx, VERSION)
    detail: dict[str, Any] = {"env": env, "before": gone.values(), "after": after.values()}
    detail |= {"scope": scope.kind, "scope_id": shown_scope_id(scope)}
    await record(tx, actor, "limits.clear", owner.public_id, account_id=owner.id, detail=detail)
    return Shown(owner.name, env, after, await _budgets_of(tx, owner.id, env, scope))


async def show_limits(connection: AsyncConnection, account: str, env: str) -> list[Shown]:
    """All limits of an account in one environment, by scope."""
    owner = await accounts.read_account(connection, account)
    budgets = await budget_rows.list_current_budgets(connection, owner.id, env)
    return [
        Shown(owner.name, env, found, tuple(b for b in budgets if Scope(b.scope, b.scope_id) == found.scope))
        for found in await limit_rows.list_limits(connection, owner.id, env)
    ]


async def _budgets_of(
    connection: AsyncConnection, account_id: UUID, env: str, scope: Scope
) -> tuple[Budget, ...]:
    budgets = await budget_rows.list_current_budgets(connection, account_id, env)
    return tuple(b for b in budgets if Scope(b.scope, b.scope_id) == scope)
