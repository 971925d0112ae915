"""Prices, appended and never overwritten; rules of models; and the counters that tell a process its copy is old."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Integer,
    Numeric,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from imagegate.db.base import metadata

prices = Table(
    "prices",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("terms", JSONB(none_as_null=True), comment="NULL: from here on the model has no price"),
    Column("source", Text, nullable=False),
    Column("source_date", Date),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("rate", Numeric, comment="tokens per USD, where USD were converted"),
    Column("valid_from", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("jsonb_typeof(terms) = 'object'", name="terms"),
)

versions = Table(
    "versions",
    metadata,
    Column("name", Text, primary_key=True, comment="which configuration: prices, models, providers …"),
    Column("n", BigInteger, nullable=False, comment="counts its changes"),
)

model_rules = Table(
    "model_rules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("target", Text, comment="the model that an alias or a redirect stands for"),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("rule IN ('disabled', 'alias', 'redirect')", name="rule"),
    CheckConstraint("(rule = 'disabled') = (target IS NULL)", name="target"),
)

provider_rules = Table(
    "provider_rules",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

preferences = Table(
    "preferences",
    metadata,
    Column("model", Text, primary_key=True),
    Column("provider", Text, primary_key=True, comment="empty: of the model itself, among models"),
    Column("rank", Integer, comment="1 is the best; NULL: the catalogue's"),
    Column("weight", Integer, comment="its share under `balanced`; NULL: the catalogue's"),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("rank BETWEEN 1 AND 10000", name="rank"),
    CheckConstraint("weight BETWEEN 0 AND 10000", name="weight"),
)
