"""What an operator does to operators' keys: issue one, list them, revoke one."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.errors import InvalidRequest
from imagegate.identity import operators
from imagegate.identity.audit import Actor, record
from imagegate.identity.operators import SCOPES, Operator, Scope
from imagegate.ids import parse_public_id


def operator_json(operator: Operator, plain: str | None = None) -> dict[str, Any]:
    """plain: the key itself, when it has just been made."""
    secret = {"key": plain} if plain else {}
    return {
        "id": operator.public_id,
        **secret,
        "name": operator.name,
        "hint": operator.hint,
        "status": status_of(operator, datetime.now(UTC)),
        "scopes": [scope for scope in SCOPES if scope in operator.scopes],
        "created_by": operator.created_by,
        "created_at": timestamp(operator.created_at),
        "expires_at": timestamp(operator.expires_at),
        "revoked_at": timestamp(operator.revoked_at),
    }


def status_of(operator: Operator, now: datetime) -> str:
    if operator.revoked_at is not None:
        return "revoked"
    return "expired" if operator.expires_at is not None and operator.expires_at <= now else "active"


async def create_operator(
    tx: AsyncConnection,
    pepper: bytes,
    name: str,
    scopes: Collection[Scope],
    expires_at: datetime | None,
    actor: Actor,
    *,
    issuer: Operator | None = None,
) -> tuple[Operator, str]:
    """A new key, and its plain text for the only time.

    issuer: the key that issues this one; None = the shell, which may do anything. An issued key has no scope that its
    issuer lacks and ends no later. Raises InvalidRequest, Conflict, and a CallerError with status 403.
    """
    if issuer is not None:
        operators.require_scopes(issuer, scopes)
        if issuer.expires_at is not None:
            if expires_at is not None and expires_at > issuer.expires_at:
                text = (
                    f"Your own key ends at {timestamp(issuer.expires_at)}; one that it issues ends no later."
                )
                raise InvalidRequest(text, param="expires_at")
            expires_at = expires_at or issuer.expires_at
    made, plain = await operators.create_operator(tx, pepper, name, scopes, expires_at, actor.name)
    await record(tx, actor, "operators.create", made.public_id, detail=described(made))
    return made, plain


async def revoke_operator(
    tx: AsyncConnection, text: str, actor: Actor, *, revoker: Operator | None = None
) -> Operator:
    """For good; revoking twice is no error. text: `opk_…`.

    revoker: the key that revokes this one, which must have all of its scopes; None = the shell.
    Raises NotFound, and a CallerError with status 403.
    """
    before = await operators.get_operator(tx, parse_public_id("opk", text))
    if revoker is not None:
        operators.require_scopes(revoker, before.scopes)
    if before.revoked_at is not None:
        return before
    after = await operators.revoke_operator(tx, before.id)
    await record(tx, actor, "operators.revoke", after.public_id, detail=described(after))
    return after


def described(operator: Operator) -> dict[str, Any]:
    """What the audit log keeps of a key: never the key itself."""
    shown = operator_json(operator)
    return {name: shown[name] for name in ("name", "scopes", "hint", "expires_at") if shown[name] is not None}


async def page_operators(connection: AsyncConnection, after: UUID | None, limit: int) -> Sequence[Operator]:
    """At most `limit` keys older than `after`, newest first."""
    return await operators.page_operators(connection, after, limit)
