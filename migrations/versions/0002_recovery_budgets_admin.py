"""Adoption, budgets, limits, allowances, operators' keys, the audit log, rules of models.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE wallets ADD COLUMN revision BIGINT DEFAULT 0 NOT NULL
    """,
    """
    ALTER TABLE transfers DROP CONSTRAINT ck_transfers_kind,
        ADD CONSTRAINT ck_transfers_kind
            CHECK (kind IN ('top_up', 'grant', 'expire', 'capture', 'refund', 'usage', 'adjust'))
    """,
    """
    ALTER TABLE generations ADD COLUMN counted JSONB, ADD COLUMN quarter_hour INTEGER
    """,
    """
    CREATE INDEX ix_generations_fingerprint ON generations (account_id, env, quarter_hour, fingerprint)
    WHERE fingerprint IS NOT NULL
    """,
    """
    CREATE INDEX ix_generations_abandoned ON generations (account_id, env, abandoned_at)
    WHERE abandoned_at IS NOT NULL
    """,
    """
    CREATE INDEX ix_generations_created_at ON generations USING brin (created_at)
    """,
    """
    ALTER TABLE api_keys ADD COLUMN rotated_from UUID
    """,
    """
    CREATE TABLE allowances (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        id UUID NOT NULL,
        period TEXT NOT NULL,
        tokens BIGINT NOT NULL,
        carry_over BOOLEAN DEFAULT false NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        ended_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_allowances PRIMARY KEY (account_id, env, id),
        CONSTRAINT fk_allowances_account_id_env FOREIGN KEY(account_id, env) REFERENCES wallets (account_id, env),
        CONSTRAINT ck_allowances_period CHECK (period IN ('day', 'month')),
        CONSTRAINT ck_allowances_tokens CHECK (tokens > 0)
    )
    """,
    """
    CREATE TABLE limits (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        scope TEXT NOT NULL,
        scope_id TEXT NOT NULL,
        requests_per_min INTEGER,
        images_per_min INTEGER,
        concurrent INTEGER,
        day_tokens BIGINT,
        month_tokens BIGINT,
        CONSTRAINT pk_limits PRIMARY KEY (account_id, env, scope, scope_id),
        CONSTRAINT fk_limits_account_id_env FOREIGN KEY(account_id, env) REFERENCES wallets (account_id, env),
        CONSTRAINT ck_limits_scope CHECK (scope IN ('account', 'team', 'key', 'app')),
        CONSTRAINT ck_limits_rates CHECK (scope IN ('account', 'key') OR
            (requests_per_min IS NULL AND images_per_min IS NULL AND concurrent IS NULL)),
        CONSTRAINT ck_limits_not_negative CHECK (least(requests_per_min, images_per_min, concurrent) >= 0
            AND least(day_tokens, month_tokens) >= 0)
    )
    """,
    """
    CREATE TABLE operator_keys (
        id UUID NOT NULL,
        name TEXT NOT NULL,
        hash BYTEA NOT NULL,
        hint TEXT NOT NULL,
        scopes TEXT[] NOT NULL,
        created_by TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        revoked_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_operator_keys PRIMARY KEY (id),
        CONSTRAINT ck_operator_keys_name CHECK (length(name) BETWEEN 1 AND 200),
        CONSTRAINT ck_operator_keys_hash CHECK (length(hash) = 32),
        CONSTRAINT uq_operator_keys_hash UNIQUE (hash)
    )
    """,
    """
    CREATE TABLE audit_log (
        id UUID NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        account_id UUID,
        reason TEXT NOT NULL,
        detail JSONB,
        request_id TEXT,
        CONSTRAINT pk_audit_log PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE model_rules (
        name TEXT NOT NULL,
        rule TEXT NOT NULL,
        target TEXT,
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_model_rules PRIMARY KEY (name),
        CONSTRAINT ck_model_rules_rule CHECK (rule IN ('disabled', 'alias', 'redirect')),
        CONSTRAINT ck_model_rules_target CHECK ((rule = 'disabled') = (target IS NULL))
    )
    """,
)

GRANTS = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'imagegate_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON allowances, limits, operator_keys, model_rules TO imagegate_app;
        GRANT SELECT, INSERT ON audit_log TO imagegate_app;
    END IF;
END $$
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(GRANTS)


def downgrade() -> None:
    raise RuntimeError(
        "this schema cannot be taken back: that would drop budgets, allowances and the audit log"
    )
