"""Rules of models as rows. Every change counts up the `models` version, which is how processes learn of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import bump_version
from imagegate.catalogue.rules import Rule, RuleBook, RuleKind
from imagegate.catalogue.tables import model_rules

MODELS = "models"


async def load(connection: AsyncConnection) -> Sequence[Rule]:
    """All rules. Read the versions before this, never after."""
    return [rule_from(row) for row in await connection.execute(select(model_rules))]


async def under_rules(connection: AsyncConnection, catalogue: Catalogue) -> Catalogue:
    """The catalogue under the rules as they stand in the database, which a process may know a second later."""
    return replace(catalogue, rules=RuleBook(await load(connection)))


async def changing(tx: AsyncConnection, catalogue: Catalogue) -> Catalogue:
    """As `under_rules`, and nobody else changes a rule until `tx` ends."""
    await bump_version(tx, MODELS)
    return await under_rules(tx, catalogue)


async def write(
    tx: AsyncConnection, name: str, kind: RuleKind, target: str | None, reason: str, actor: str
) -> None:
    """Make this the only rule of its name. The caller holds the lock of `changing`."""
    values = {"rule": kind, "target": target, "reason": reason, "actor": actor, "at": func.clock_timestamp()}
    statement = insert(model_rules).values(name=name, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=[model_rules.c.name], set_=values))


async def remove(tx: AsyncConnection, name: str) -> None:
    """The caller holds the lock of `changing`."""
    await tx.execute(delete(model_rules).where(model_rules.c.name == name))


def rule_from(row: Row[Any]) -> Rule:
    return Rule(row.name, row.rule, row.target, row.reason, row.actor, row.at)
