"""Accounts, API keys, and what this installation is."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)

from imagegate.db.base import metadata

accounts = Table(
    "accounts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("closed_at", DateTime(timezone=True)),
    CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("team", Text),
    Column("app", Text),
    Column("environment", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    ForeignKeyConstraint(["account_id", "env"], ["wallets.account_id", "wallets.env"]),
    UniqueConstraint("id"),
    CheckConstraint("length(hash) = 32", name="hash"),
)

instance = Table(
    "instance",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
