"""Limits of an account, a team, a key or an app: rows that are written, read and taken away.

Who changes one has touched the account's wallet before: what is written here counts from the commit on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import InvalidRequest, NotFound
from imagegate.identity.tables import api_keys, limits

RATES = ("requests_per_min", "images_per_min", "concurrent")
BUDGETS = ("day_tokens", "month_tokens")
NAMES = (*RATES, *BUDGETS)
SCOPES = ("account", "team", "key", "app")
MOST = {**dict.fromkeys(RATES, 1_000_000), **dict.fromkeys(BUDGETS, 2**53 - 1)}
LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a limit is for. id: a key's UUID as text, a team's or an app's label; empty for the account."""

    kind: str = "account"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """None = without limit; 0 = nothing at all. The rates are there for accounts and keys only."""

    scope: Scope
    requests_per_min: int | None = None
    images_per_min: int | None = None
    concurrent: int | None = None
    day_tokens: int | None = None
    month_tokens: int | None = None

    def values(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in NAMES}


def check_changes(scope: Scope, changes: Mapping[str, int | None]) -> None:
    """Raises InvalidRequest for what is no limit, is out of range, or cannot be had by this scope."""
    if not changes:
        raise InvalidRequest(f"No limit was named. There are: {', '.join(NAMES)}.")
    for name, value in changes.items():
        if name not in NAMES:
            raise InvalidRequest(f"There is no limit {name!r}. There are: {', '.join(NAMES)}.", param=name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST[name]:
            raise InvalidRequest(f"{name} is a whole number between 0 and {MOST[name]}.", param=name)
        if name in RATES and scope.kind not in ("account", "key"):
            raise InvalidRequest(
                f"{name} is counted for accounts and keys; a {scope.kind} can have day_tokens and month_tokens.",
                param=name,
            )


async def check_scope(connection: AsyncConnection, account_id: UUID, env: str, scope: Scope) -> None:
    """Raises InvalidRequest, and NotFound when it is a key that this account and environment do not have."""
    if scope.kind not in SCOPES:
        raise InvalidRequest(f"A limit is for one of: {', '.join(SCOPES)}.", param="scope")
    if scope.kind == "account":
        if scope.id:
            raise InvalidRequest("A limit of the account itself names nothing else.", param="scope_id")
        return
    if not 1 <= len(scope.id) <= LONGEST_LABEL or not scope.id.isprintable():
        raise InvalidRequest(
            f"The {scope.kind} has 1 to {LONGEST_LABEL} printable characters.", param="scope_id"
        )
    if scope.kind == "key":
        k = api_keys.c
        query = select(k.id).where(k.account_id == account_id, k.env == env, k.id == as_uuid(scope.id))
        if (await connection.execute(query)).first() is None:
            raise NotFound("This account has no such key in this environment. List them: imagegate keys list")


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def find_limits(connection: AsyncConnection, account_id: UUID, env: str, scope: Scope) -> Limits | None:
    query = select(limits).where(*_is(account_id, env, scope))
    row = (await connection.execute(query)).one_or_none()
    return limits_from(row) if row else None


async def list_limits(connection: AsyncConnection, account_id: UUID, env: str) -> list[Limits]:
    """The account's own first, then by scope."""
    query = select(limits).where(limits.c.account_id == account_id, limits.c.env == env)
    rows = await connection.execute(query.order_by(limits.c.scope, limits.c.scope_id))
    return [limits_from(row) for row in rows]


async def write_limits(
    tx: AsyncConnection, account_id: UUID, env: str, scope: Scope, changes: Mapping[str, int | None]
) -> tuple[Limits, Limits]:
    """Set the limits named in `changes` and leave the others. Gives all of them, before and after.

    None takes a limit away, and with the last of them the row. Raises InvalidRequest and NotFound.
    """
    check_changes(scope, changes)
    await check_scope(tx, account_id, env, scope)
    before = await find_limits(tx, account_id, env, scope) or Limits(scope)
    after = Limits(scope, **{**before.values(), **changes})
    if after == Limits(scope):
        await tx.execute(delete(limits).where(*_is(account_id, env, scope)))
    else:
        named = {"account_id": account_id, "env": env, "scope": scope.kind, "scope_id": scope.id}
        statement = insert(limits).values(**named, **after.values())
        key = [limits.c.account_id, limits.c.env, limits.c.scope, limits.c.scope_id]
        await tx.execute(statement.on_conflict_do_update(index_elements=key, set_=after.values()))
    return before, after


def limits_from(row: Any) -> Limits:
    return Limits(Scope(row.scope, row.scope_id), **{name: getattr(row, name) for name in NAMES})


def _is(account_id: UUID, env: str, scope: Scope) -> tuple[ColumnElement[bool], ...]:
    c = limits.c
    return c.account_id == account_id, c.env == env, c.scope == scope.kind, c.scope_id == scope.id
