"""Sums of usage by the hour and day, and how far they reach; generations by time, exactly.

A BRIN index finds few rows only while they lie as they came; vacuum gives room on old pages to new rows.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SUMS = """
        generations BIGINT NOT NULL,
        images BIGINT NOT NULL,
        errors BIGINT NOT NULL,
        charged NUMERIC NOT NULL,
        cost_usd NUMERIC NOT NULL,
        at_risk_usd NUMERIC NOT NULL
"""
STATEMENTS = (
    f"""
    CREATE TABLE usage_hours (
        dimension TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        env TEXT NOT NULL,
        value TEXT,
        {SUMS}
    )
    """,
    "CREATE UNIQUE INDEX uq_usage_hours_value ON usage_hours (dimension, at, env, value) NULLS NOT DISTINCT",
    f"""
    CREATE TABLE usage_days (
        account_id UUID,
        dimension TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        env TEXT NOT NULL,
        value TEXT,
        {SUMS}
    )
    """,
    "CREATE UNIQUE INDEX uq_usage_days_value ON usage_days (dimension, account_id, at, env, value) NULLS NOT DISTINCT",
    """
    CREATE TABLE usage_reach (
        one BIGINT DEFAULT 1 NOT NULL,
        since TIMESTAMP WITH TIME ZONE NOT NULL,
        until TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_usage_reach PRIMARY KEY (one),
        CONSTRAINT ck_usage_reach_one CHECK (one = 1),
        CONSTRAINT ck_usage_reach_until CHECK (since <= until)
    )
    """,
    "DROP INDEX ix_generations_created_at",
    "CREATE INDEX ix_generations_created_at ON generations (created_at)",
    "COMMENT ON COLUMN usage_hours.dimension IS 'what `value` is one of; each dimension has all of an hour'",
    "COMMENT ON COLUMN usage_hours.at IS 'the beginning of the hour, UTC'",
    "COMMENT ON COLUMN usage_days.account_id IS 'NULL: of all accounts'",
    "COMMENT ON COLUMN usage_days.at IS 'the beginning of the day, UTC'",
    "COMMENT ON COLUMN usage_reach.since IS 'midnight, UTC'",
    "COMMENT ON COLUMN usage_reach.until IS 'a whole hour; days reach to its midnight'",
)

GRANTS = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'imagegate_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON usage_hours, usage_days, usage_reach TO imagegate_app;
    END IF;
END $$
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(GRANTS)


def downgrade() -> None:
    for table in ("usage_hours", "usage_days", "usage_reach"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX ix_generations_created_at")
    op.execute("CREATE INDEX ix_generations_created_at ON generations USING brin (created_at)")
