"""Generations, their attempts and images, and the workers that own them."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from imagegate.db.base import metadata

OPEN_STATES = "state IN ('queued', 'running', 'in_doubt')"

generations = Table(
    "generations",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("key_id", Uuid, nullable=False),
    Column("app_id", Text),
    Column("idempotency_key", Text),
    Column("fingerprint", LargeBinary),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("epoch", Integer, nullable=False, server_default=text("1")),
    Column("worker_id", Uuid),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("hold_tokens", BigInteger, nullable=False),
    Column("charged_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("model", Text, nullable=False),
    Column("price_version", Integer, nullable=False),
    Column("quote", JSONB, nullable=False),
    Column("billed", JSONB),
    Column("request", JSONB, nullable=False),
    Column("result", JSONB),
    Column("moderation", JSONB(none_as_null=True), comment="what moderators said, under which policy"),
    Column("answer_status", Integer),
    Column("answer_code", Text),
    Column("answer_message", Text),
    Column("claims", Integer, nullable=False, server_default=text("0")),
    Column("abandoned_at", DateTime(timezone=True)),
    Column("counted", JSONB(none_as_null=True), comment="the budgets that its hold counts on"),
    Column(
        "quarter_hour",
        Integer,
        comment="created_at in quarters of an hour since 1970, so that the index of fingerprints grows at its end",
    ),
    Column(
        "job", JSONB(none_as_null=True), comment="of an async job: what its worker needs beside the request"
    ),
    Column("due_at", DateTime(timezone=True), comment="before then a job that waits again is left alone"),
    Column("claimed_at", DateTime(timezone=True), comment="when a worker took the job up"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("settled_at", DateTime(timezone=True)),
    ForeignKeyConstraint(
        ["account_id", "env", "key_id"], ["api_keys.account_id", "api_keys.env", "api_keys.id"]
    ),
    CheckConstraint("state IN ('queued', 'running', 'in_doubt', 'captured', 'voided')", name="state"),
    CheckConstraint(
        "(state = 'voided') = (outcome IS NOT NULL) AND outcome IN ('final', 'lost')", name="outcome"
    ),
    CheckConstraint("epoch BETWEEN 1 AND 3", name="epoch"),
    CheckConstraint("0 <= charged_tokens AND charged_tokens <= hold_tokens", name="charged_within_hold"),
    CheckConstraint("state = 'captured' OR charged_tokens = 0", name="charged_when_captured"),
    CheckConstraint(f"({OPEN_STATES}) = (settled_at IS NULL)", name="settled_at"),
)
Index(
    "uq_generations_idempotency_key",
    generations.c.account_id,
    generations.c.env,
    generations.c.idempotency_key,
    unique=True,
    postgresql_where=text("idempotency_key IS NOT NULL"),
)
Index(
    "ix_generations_open",
    generations.c.worker_id,
    generations.c.expires_at,
    postgresql_where=text(OPEN_STATES),
)

Index(
    "ix_generations_fingerprint",
    generations.c.account_id,
    generations.c.env,
    generations.c.quarter_hour,
    generations.c.fingerprint,
    postgresql_where=text("fingerprint IS NOT NULL"),
)
Index(
    "ix_generations_abandoned",
    generations.c.account_id,
    generations.c.env,
    generations.c.abandoned_at,
    postgresql_where=text("abandoned_at IS NOT NULL"),
)
Index(
    "ix_generations_queued",
    generations.c.account_id,
    generations.c.env,
    generations.c.id,
    postgresql_where=text("state = 'queued'"),
)
Index("ix_generations_created_at", generations.c.created_at)

attempts = Table(
    "attempts",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("generation_id", Uuid, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("slot", Integer, nullable=False, server_default=text("0")),
    Column("provider", Text, nullable=False),
    Column("offering", Text, nullable=False),
    Column("credential_id", Text),
    Column("class", Text, nullable=False),
    Column("images", Integer, nullable=False, server_default=text("0")),
    Column("detail", Text),
    Column("upstream_id", Text),
    Column("upstream_url", Text),
    Column("cost_usd", Numeric),
    Column("at_risk_usd", Numeric),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ms", Integer, nullable=False),
)
Index(
    "ix_attempts_started_at",
    attempts.c.started_at,
    postgresql_using="brin",
    postgresql_with={"autosummarize": "on"},
)

images = Table(
    "images",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("generation_id", Uuid, primary_key=True),
    Column("idx", Integer, primary_key=True),
    Column("object", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("mime", Text, nullable=False),
    Column("revised_prompt", Text),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    Column("secrets", ARRAY(Text), comment="fingerprints of the master secrets it accepts"),
)

retention_marks = Table(
    "retention_marks",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column(
        "what",
        Text,
        primary_key=True,
        comment="images or prompts; ahead: images, past those that stay longer",
    ),
    Column("until", Uuid, nullable=False, comment="of all generations up to this one they are removed"),
    ForeignKeyConstraint(["account_id", "env"], ["wallets.account_id", "wallets.env"]),
    CheckConstraint("what IN ('images', 'ahead', 'prompts')", name="what"),
)
