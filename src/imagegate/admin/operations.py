"""Revoking a key where nobody is named: what tests of the line do to a customer's key."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin import keys
from imagegate.identity.audit import Actor


async def revoke_key(tx: AsyncConnection, text: str) -> UUID:
    """text: `key_…` or the UUID itself. Raises NotFound."""
    return (await keys.revoke_key(tx, text, Actor("cli", "by command line"))).id
