"""Where an account's webhooks go, what they are signed with, and those that are still to be delivered."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from imagegate.db.base import metadata

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(["account_id", "env"], ["wallets.account_id", "wallets.env"]),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("account_id", Uuid, ForeignKey("accounts.id"), primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("retires_at", DateTime(timezone=True), comment="until when it still signs beside the newer one"),
)
Index(
    "uq_webhook_secrets_current",
    webhook_secrets.c.account_id,
    unique=True,
    postgresql_where=text("retires_at IS NULL"),
)

webhook_outbox = Table(
    "webhook_outbox",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("generation_id", Uuid, nullable=False),
    Column("type", Text, nullable=False, comment="image.generation.completed or image.generation.failed"),
    Column("url", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("next_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "gives_up_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("(now() + '24:00:00'::interval)"),
        comment="when the last try is made",
    ),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
    Column("last_status", Integer, comment="what the receiver answered last"),
    Column("last_error", Text),
    ForeignKeyConstraint(
        ["account_id", "env", "generation_id"],
        ["generations.account_id", "generations.env", "generations.id"],
    ),
    CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state"),
    CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name="ended_at"),
)
Index(
    "ix_webhook_outbox_due",
    webhook_outbox.c.next_at,
    postgresql_where=text("state = 'pending'"),
)
