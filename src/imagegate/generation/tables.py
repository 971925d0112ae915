"""Sums of closed hours and days, and how far they reach. A cache: whatever is in it can be reckoned from the rows."""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, Numeric, Table, Text, Uuid, text

from imagegate.db.base import metadata


def sums() -> list[Column[object]]:
    """charged: tokens. By provider it is a part of a generation's charge, exact; so it need not be whole."""
    return [
        Column("generations", BigInteger, nullable=False),
        Column("images", BigInteger, nullable=False),
        Column("errors", BigInteger, nullable=False),
        Column("charged", Numeric, nullable=False),
        Column("cost_usd", Numeric, nullable=False),
        Column("at_risk_usd", Numeric, nullable=False),
    ]


usage_hours = Table(
    "usage_hours",
    metadata,
    Column(
        "dimension", Text, nullable=False, comment="what `value` is one of; each dimension has all of an hour"
    ),
    Column("at", DateTime(timezone=True), nullable=False, comment="the beginning of the hour, UTC"),
    Column("env", Text, nullable=False),
    Column("value", Text),
    *sums(),
)
Index(
    "uq_usage_hours_value",
    usage_hours.c.dimension,
    usage_hours.c.at,
    usage_hours.c.env,
    usage_hours.c.value,
    unique=True,
    postgresql_nulls_not_distinct=True,
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("account_id", Uuid, comment="NULL: of all accounts"),
    Column("dimension", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, comment="the beginning of the day, UTC"),
    Column("env", Text, nullable=False),
    Column("value", Text),
    *sums(),
)
Index(
    "uq_usage_days_value",
    usage_days.c.dimension,
    usage_days.c.account_id,
    usage_days.c.at,
    usage_days.c.env,
    usage_days.c.value,
    unique=True,
    postgresql_nulls_not_distinct=True,
)

usage_reach = Table(
    "usage_reach",
    metadata,
    Column("one", BigInteger, primary_key=True, server_default=text("1")),
    Column("since", DateTime(timezone=True), nullable=False, comment="midnight, UTC"),
    Column(
        "until", DateTime(timezone=True), nullable=False, comment="a whole hour; days reach to its midnight"
    ),
    CheckConstraint("one = 1", name="one"),
    CheckConstraint("since <= until", name="until"),
)
