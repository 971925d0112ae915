"""Policies of routing and moderation, providers' keys, preferences among models and offerings, providers' health.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE accounts ADD COLUMN moderation TEXT,
        ADD CONSTRAINT ck_accounts_moderation CHECK (moderation IN ('off', 'flag', 'block'))
    """,
    """
    ALTER TABLE api_keys ADD COLUMN moderation TEXT, ADD COLUMN routing TEXT,
        ADD CONSTRAINT ck_api_keys_moderation CHECK (moderation IN ('off', 'flag', 'block')),
        ADD CONSTRAINT ck_api_keys_routing
            CHECK (routing IN ('catalogue', 'cheapest', 'fastest', 'best', 'balanced'))
    """,
    """
    ALTER TABLE generations ADD COLUMN moderation JSONB
    """,
    """
    CREATE TABLE provider_keys (
        id UUID NOT NULL,
        provider TEXT NOT NULL,
        name TEXT NOT NULL,
        sealed BYTEA NOT NULL,
        hint TEXT NOT NULL,
        created_by TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        revoked_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_provider_keys PRIMARY KEY (id),
        CONSTRAINT ck_provider_keys_name CHECK (length(name) BETWEEN 1 AND 200)
    )
    """,
    """
    CREATE TABLE provider_rules (
        provider TEXT NOT NULL,
        enabled BOOLEAN NOT NULL,
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_provider_rules PRIMARY KEY (provider)
    )
    """,
    """
    CREATE TABLE preferences (
        model TEXT NOT NULL,
        provider TEXT NOT NULL,
        rank INTEGER,
        weight INTEGER,
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_preferences PRIMARY KEY (model, provider),
        CONSTRAINT ck_preferences_rank CHECK (rank BETWEEN 1 AND 10000),
        CONSTRAINT ck_preferences_weight CHECK (weight BETWEEN 0 AND 10000)
    )
    """,
    """
    CREATE TABLE offering_health (
        worker_id UUID NOT NULL,
        provider TEXT NOT NULL,
        offering TEXT NOT NULL,
        state JSONB NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_offering_health PRIMARY KEY (worker_id, provider, offering)
    )
    """,
)

GRANTS = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'imagegate_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON provider_keys, provider_rules, preferences, offering_health
            TO imagegate_app;
    END IF;
END $$
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(GRANTS)


def downgrade() -> None:
    raise RuntimeError(
        "this schema cannot be taken back: that would drop policies, verdicts and providers' keys"
    )
