"""Accounts, API keys, operators' keys, limits, the audit log, and what this installation is."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from imagegate.db.base import metadata

accounts = Table(
    "accounts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("closed_at", DateTime(timezone=True)),
    Column("moderation", Text, comment="the policy of its keys that have none; NULL: the gateway's"),
    Column("keep_images_h", Integer, comment="how long its images are kept; NULL: the gateway's"),
    Column("keep_prompts_h", Integer, comment="how long its prompts are kept; NULL: the gateway's"),
    CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
    CheckConstraint("moderation IN ('off', 'flag', 'block')", name="moderation"),
    CheckConstraint("least(keep_images_h, keep_prompts_h) >= 24", name="kept_a_day"),
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
    Column("rotated_from", Uuid, comment="the key that this one replaces"),
    Column("moderation", Text, comment="its policy; NULL: the account's"),
    Column("routing", Text, comment="the policy of its requests that name none; NULL: the gateway's"),
    Column("keepalive", Boolean, nullable=False, server_default=false(), comment="slow answers begin early"),
    Column("pepper_id", LargeBinary, comment="the secret its hash was made with; NULL: the first"),
    ForeignKeyConstraint(["account_id", "env"], ["wallets.account_id", "wallets.env"]),
    UniqueConstraint("id"),
    CheckConstraint("length(hash) = 32", name="hash"),
    CheckConstraint("moderation IN ('off', 'flag', 'block')", name="moderation"),
    CheckConstraint("routing IN ('catalogue', 'cheapest', 'fastest', 'best', 'balanced')", name="routing"),
)

provider_keys = Table(
    "provider_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("revoked_at", DateTime(timezone=True)),
    CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
)

instance = Table(
    "instance",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

limits = Table(
    "limits",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("env", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column(
        "scope_id", Text, primary_key=True, comment="the key's UUID, a team or an app; empty for the account"
    ),
    Column("requests_per_min", Integer),
    Column("images_per_min", Integer),
    Column("concurrent", Integer),
    Column("day_tokens", BigInteger),
    Column("month_tokens", BigInteger),
    ForeignKeyConstraint(["account_id", "env"], ["wallets.account_id", "wallets.env"]),
    CheckConstraint("scope IN ('account', 'team', 'key', 'app')", name="scope"),
    CheckConstraint(
        "scope IN ('account', 'key') OR "
        "(requests_per_min IS NULL AND images_per_min IS NULL AND concurrent IS NULL)",
        name="rates",
    ),
    CheckConstraint(
        "least(requests_per_min, images_per_min, concurrent) >= 0 AND least(day_tokens, month_tokens) >= 0",
        name="not_negative",
    ),
)

operator_keys = Table(
    "operator_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("pepper_id", LargeBinary, comment="the secret its hash was made with; NULL: the first"),
    CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
    CheckConstraint("length(hash) = 32", name="hash"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False, comment="noun.verb: keys.revoke, prices.set"),
    Column("target", Text, nullable=False),
    Column("account_id", Uuid),
    Column("reason", Text, nullable=False),
    Column("detail", JSONB(none_as_null=True), comment="before and after; never a secret"),
    Column("request_id", Text),
)

console_spent = Table(
    "console_spent",
    metadata,
    Column(
        "id", Uuid, primary_key=True, comment="of a sign-in link that was used, or a session that was left"
    ),
    Column("until", DateTime(timezone=True), nullable=False, comment="after that it would be refused anyway"),
)
