"""Wallets, transfers, budgets and allowances. Account and env come first in every key."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from imagegate.db.base import metadata

ENVS = "env IN ('live', 'test')"
LEDGER_ACCOUNTS = ("wallet", "funding", "promo", "revenue", "loss")

wallets = Table(
    "wallets",
    metadata,
    Column("account_id", Uuid, ForeignKey("accounts.id"), primary_key=True),
    Column("env", Text, primary_key=True),
    Column("posted_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("held_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("version", BigInteger, nullable=False, server_default=text("0"), comment="counts its transfers"),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="counts every change that a hold depends on",
    ),
    CheckConstraint(ENVS, name="env"),
    CheckConstraint("0 <= held_tokens AND held_tokens <= posted_tokens", name="held_within_posted"),
    CheckConstraint("version >= 0", name="version"),
)

_SIDES = ", ".join(f"'{name}'" for name in LEDGER_ACCOUNTS)

transfers = Table(
    "transfers",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("wallet_version", BigInteger),
    Column("debit", Text, nullable=False),
    Column("credit", Text, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("generation_id", Uuid),
    Column("cause", Text),
    Column("price_version", Integer),
    Column("balance_after", BigInteger),
    Column("source", Text),
    Column("external_ref", Text),
    Column("reason", Text),
    Column("actor", Text),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(["account_id", "env"], ["wallets.account_id", "wallets.env"]),
    CheckConstraint("tokens > 0", name="tokens"),
    CheckConstraint(f"debit IN ({_SIDES}) AND credit IN ({_SIDES}) AND debit <> credit", name="sides"),
    CheckConstraint(
        "kind IN ('top_up', 'grant', 'expire', 'capture', 'refund', 'usage', 'adjust')", name="kind"
    ),
    CheckConstraint(
        "(debit = 'wallet' OR credit = 'wallet') = (wallet_version IS NOT NULL AND balance_after IS NOT NULL)",
        name="wallet_side",
    ),
    CheckConstraint(
        "(kind IN ('capture', 'refund', 'usage')) = (generation_id IS NOT NULL)", name="generation"
    ),
)
Index(
    "uq_transfers_wallet_version",
    transfers.c.account_id,
    transfers.c.env,
    transfers.c.wallet_version,
    unique=True,
)
Index(
    "uq_transfers_capture",
    transfers.c.account_id,
    transfers.c.env,
    transfers.c.generation_id,
    unique=True,
    postgresql_where=text("kind = 'capture'"),
)
Index(
    "uq_transfers_refund",
    transfers.c.account_id,
    transfers.c.env,
    transfers.c.generation_id,
    transfers.c.cause,
    unique=True,
    postgresql_where=text("kind = 'refund'"),
)
Index(
    "uq_transfers_external_ref",
    transfers.c.account_id,
    transfers.c.env,
    transfers.c.source,
    transfers.c.external_ref,
    unique=True,
    postgresql_where=text("external_ref IS NOT NULL"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("scope_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("spent_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("held_tokens", BigInteger, nullable=False, server_default=text("0")),
    ForeignKeyConstraint(["account_id", "env"], ["wallets.account_id", "wallets.env"]),
    CheckConstraint("spent_tokens >= 0 AND held_tokens >= 0", name="not_negative"),
    CheckConstraint("scope IN ('account', 'team', 'key', 'app')", name="scope"),
)

allowances = Table(
    "allowances",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("period", Text, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("carry_over", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
    ForeignKeyConstraint(["account_id", "env"], ["wallets.account_id", "wallets.env"]),
    CheckConstraint("period IN ('day', 'month')", name="period"),
    CheckConstraint("tokens > 0", name="tokens"),
)
