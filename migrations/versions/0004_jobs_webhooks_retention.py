"""Async jobs, webhooks, retention by account, keys whose slow answers begin early.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE generations ADD COLUMN job JSONB, ADD COLUMN due_at TIMESTAMP WITH TIME ZONE,
        ADD COLUMN claimed_at TIMESTAMP WITH TIME ZONE
    """,
    """
    CREATE INDEX ix_generations_queued ON generations (account_id, env, id) WHERE state = 'queued'
    """,
    """
    ALTER TABLE accounts ADD COLUMN keep_images_h INTEGER, ADD COLUMN keep_prompts_h INTEGER,
        ADD CONSTRAINT ck_accounts_kept_a_day CHECK (least(keep_images_h, keep_prompts_h) >= 24)
    """,
    """
    ALTER TABLE api_keys ADD COLUMN keepalive BOOLEAN DEFAULT false NOT NULL
    """,
    """
    CREATE TABLE retention_marks (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        what TEXT NOT NULL,
        until UUID NOT NULL,
        CONSTRAINT pk_retention_marks PRIMARY KEY (account_id, env, what),
        CONSTRAINT fk_retention_marks_account_id_wallets FOREIGN KEY (account_id, env)
            REFERENCES wallets (account_id, env),
        CONSTRAINT ck_retention_marks_what CHECK (what IN ('images', 'ahead', 'prompts'))
    )
    """,
    """
    CREATE TABLE webhook_endpoints (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        url TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_webhook_endpoints PRIMARY KEY (account_id, env),
        CONSTRAINT fk_webhook_endpoints_account_id_wallets FOREIGN KEY (account_id, env)
            REFERENCES wallets (account_id, env)
    )
    """,
    """
    CREATE TABLE webhook_secrets (
        account_id UUID NOT NULL,
        id UUID NOT NULL,
        sealed BYTEA NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        retires_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_webhook_secrets PRIMARY KEY (account_id, id),
        CONSTRAINT fk_webhook_secrets_account_id_accounts FOREIGN KEY (account_id) REFERENCES accounts (id)
    )
    """,
    """
    CREATE UNIQUE INDEX uq_webhook_secrets_current ON webhook_secrets (account_id) WHERE retires_at IS NULL
    """,
    """
    CREATE TABLE webhook_outbox (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        id UUID NOT NULL,
        generation_id UUID NOT NULL,
        type TEXT NOT NULL,
        url TEXT NOT NULL,
        state TEXT DEFAULT 'pending' NOT NULL,
        tries INTEGER DEFAULT 0 NOT NULL,
        next_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        gives_up_at TIMESTAMP WITH TIME ZONE DEFAULT (now() + '24:00:00'::interval) NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        ended_at TIMESTAMP WITH TIME ZONE,
        last_status INTEGER,
        last_error TEXT,
        CONSTRAINT pk_webhook_outbox PRIMARY KEY (account_id, env, id),
        CONSTRAINT fk_webhook_outbox_account_id_generations FOREIGN KEY (account_id, env, generation_id)
            REFERENCES generations (account_id, env, id),
        CONSTRAINT ck_webhook_outbox_state CHECK (state IN ('pending', 'delivered', 'failed')),
        CONSTRAINT ck_webhook_outbox_ended_at CHECK ((state = 'pending') = (ended_at IS NULL))
    )
    """,
    """
    CREATE INDEX ix_webhook_outbox_due ON webhook_outbox (next_at) WHERE state = 'pending'
    """,
)

GRANTS = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'imagegate_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON retention_marks, webhook_endpoints, webhook_secrets, webhook_outbox
            TO imagegate_app;
    END IF;
END $$
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(GRANTS)


def downgrade() -> None:
    raise RuntimeError("this schema cannot be taken back: that would drop jobs, webhooks and retention times")
