"""Rules of providers as rows: which of them an operator has disabled. Without a rule a provider is enabled.

Every change of a rule or of a provider's keys counts up the `providers` version, which is how processes learn of it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.catalogue.prices import bump_version
from imagegate.catalogue.tables import provider_rules

PROVIDERS = "providers"


@dataclass(frozen=True, slots=True)
class ProviderRule:
    """What an operator said last of a provider."""

    provider: str
    enabled: bool
    reason: str
    actor: str
    at: datetime


async def changing(tx: AsyncConnection) -> None:
    """Nobody else changes a rule or a key of a provider until `tx` ends."""
    await bump_version(tx, PROVIDERS)


async def load(connection: AsyncConnection) -> dict[str, ProviderRule]:
    """All rules, by provider."""
    rows = await connection.execute(select(provider_rules))
    return {
        row.provider: ProviderRule(row.provider, row.enabled, row.reason, row.actor, row.at) for row in rows
    }


async def load_disabled(connection: AsyncConnection) -> frozenset[str]:
    """Providers that nobody is to be asked for. Read the versions before this, never after."""
    return frozenset(name for name, rule in (await load(connection)).items() if not rule.enabled)


async def write(tx: AsyncConnection, provider: str, enabled: bool, reason: str, actor: str) -> None:
    """Make this the provider's rule. The caller holds the lock of `changing`."""
    values = {"enabled": enabled, "reason": reason, "actor": actor, "at": func.clock_timestamp()}
    statement = insert(provider_rules).values(provider=provider, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=[provider_rules.c.provider], set_=values))
