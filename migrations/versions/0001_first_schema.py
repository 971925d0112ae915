"""Accounts, keys, wallets, transfers, prices, generations: the first schema.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE accounts (
        id UUID NOT NULL,
        name TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        closed_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_accounts PRIMARY KEY (id),
        CONSTRAINT ck_accounts_name CHECK (length(name) BETWEEN 1 AND 200),
        CONSTRAINT uq_accounts_name UNIQUE (name)
    )
    """,
    """
    CREATE TABLE attempts (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        generation_id UUID NOT NULL,
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        slot INTEGER DEFAULT 0 NOT NULL,
        provider TEXT NOT NULL,
        offering TEXT NOT NULL,
        credential_id TEXT,
        class TEXT NOT NULL,
        images INTEGER DEFAULT 0 NOT NULL,
        detail TEXT,
        upstream_id TEXT,
        upstream_url TEXT,
        cost_usd NUMERIC,
        at_risk_usd NUMERIC,
        started_at TIMESTAMP WITH TIME ZONE NOT NULL,
        ms INTEGER NOT NULL,
        CONSTRAINT pk_attempts PRIMARY KEY (account_id, env, generation_id, epoch, seq)
    )
    """,
    """
    CREATE TABLE images (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        generation_id UUID NOT NULL,
        idx INTEGER NOT NULL,
        object TEXT NOT NULL,
        sha256 BYTEA NOT NULL,
        bytes BIGINT NOT NULL,
        width_px INTEGER NOT NULL,
        height_px INTEGER NOT NULL,
        mime TEXT NOT NULL,
        revised_prompt TEXT,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_images PRIMARY KEY (account_id, env, generation_id, idx)
    )
    """,
    """
    CREATE TABLE instance (
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        CONSTRAINT pk_instance PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE prices (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        terms JSONB,
        source TEXT NOT NULL,
        source_date DATE,
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        rate NUMERIC,
        valid_from TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_prices PRIMARY KEY (model, version),
        CONSTRAINT ck_prices_version CHECK (version >= 1),
        CONSTRAINT ck_prices_terms CHECK (jsonb_typeof(terms) = 'object')
    )
    """,
    """
    CREATE TABLE versions (
        name TEXT NOT NULL,
        n BIGINT NOT NULL,
        CONSTRAINT pk_versions PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE workers (
        id UUID NOT NULL,
        lease_until TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_workers PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE wallets (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        posted_tokens BIGINT DEFAULT 0 NOT NULL,
        held_tokens BIGINT DEFAULT 0 NOT NULL,
        version BIGINT DEFAULT 0 NOT NULL,
        CONSTRAINT pk_wallets PRIMARY KEY (account_id, env),
        CONSTRAINT ck_wallets_env CHECK (env IN ('live', 'test')),
        CONSTRAINT ck_wallets_held_within_posted CHECK (0 <= held_tokens AND held_tokens <= posted_tokens),
        CONSTRAINT ck_wallets_version CHECK (version >= 0),
        CONSTRAINT fk_wallets_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
    )
    """,
    """
    CREATE TABLE api_keys (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        id UUID NOT NULL,
        hash BYTEA NOT NULL,
        hint TEXT NOT NULL,
        team TEXT,
        app TEXT,
        environment TEXT,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        revoked_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_api_keys PRIMARY KEY (account_id, env, id),
        CONSTRAINT fk_api_keys_account_id_env FOREIGN KEY(account_id, env) REFERENCES wallets (account_id, env),
        CONSTRAINT uq_api_keys_id UNIQUE (id),
        CONSTRAINT ck_api_keys_hash CHECK (length(hash) = 32),
        CONSTRAINT uq_api_keys_hash UNIQUE (hash)
    )
    """,
    """
    CREATE TABLE budgets (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        scope TEXT NOT NULL,
        scope_id TEXT NOT NULL,
        period TEXT NOT NULL,
        spent_tokens BIGINT DEFAULT 0 NOT NULL,
        held_tokens BIGINT DEFAULT 0 NOT NULL,
        CONSTRAINT pk_budgets PRIMARY KEY (account_id, env, scope, scope_id, period),
        CONSTRAINT fk_budgets_account_id_env FOREIGN KEY(account_id, env) REFERENCES wallets (account_id, env),
        CONSTRAINT ck_budgets_not_negative CHECK (spent_tokens >= 0 AND held_tokens >= 0),
        CONSTRAINT ck_budgets_scope CHECK (scope IN ('account', 'team', 'key', 'app'))
    )
    """,
    """
    CREATE TABLE transfers (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        id UUID NOT NULL,
        wallet_version BIGINT,
        debit TEXT NOT NULL,
        credit TEXT NOT NULL,
        tokens BIGINT NOT NULL,
        kind TEXT NOT NULL,
        generation_id UUID,
        cause TEXT,
        price_version INTEGER,
        balance_after BIGINT,
        source TEXT,
        external_ref TEXT,
        reason TEXT,
        actor TEXT,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_transfers PRIMARY KEY (account_id, env, id),
        CONSTRAINT fk_transfers_account_id_env FOREIGN KEY(account_id, env) REFERENCES wallets (account_id, env),
        CONSTRAINT ck_transfers_tokens CHECK (tokens > 0),
        CONSTRAINT ck_transfers_sides CHECK (debit IN ('wallet', 'funding', 'promo', 'revenue', 'loss')
            AND credit IN ('wallet', 'funding', 'promo', 'revenue', 'loss') AND debit <> credit),
        CONSTRAINT ck_transfers_kind CHECK (kind IN ('top_up', 'grant', 'capture', 'refund', 'usage', 'adjust')),
        CONSTRAINT ck_transfers_wallet_side CHECK ((debit = 'wallet' OR credit = 'wallet')
            = (wallet_version IS NOT NULL AND balance_after IS NOT NULL)),
        CONSTRAINT ck_transfers_generation CHECK ((kind IN ('capture', 'refund', 'usage')) = (generation_id IS NOT NULL))
    )
    """,
    """
    CREATE UNIQUE INDEX uq_transfers_capture ON transfers (account_id, env, generation_id) WHERE kind = 'capture'
    """,
    """
    CREATE UNIQUE INDEX uq_transfers_external_ref ON transfers (account_id, env, source, external_ref)
    WHERE external_ref IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX uq_transfers_refund ON transfers (account_id, env, generation_id, cause)
    WHERE kind = 'refund'
    """,
    """
    CREATE UNIQUE INDEX uq_transfers_wallet_version ON transfers (account_id, env, wallet_version)
    """,
    """
    CREATE TABLE generations (
        account_id UUID NOT NULL,
        env TEXT NOT NULL,
        id UUID NOT NULL,
        key_id UUID NOT NULL,
        app_id TEXT,
        idempotency_key TEXT,
        fingerprint BYTEA,
        state TEXT NOT NULL,
        outcome TEXT,
        epoch INTEGER DEFAULT 1 NOT NULL,
        worker_id UUID,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        hold_tokens BIGINT NOT NULL,
        charged_tokens BIGINT DEFAULT 0 NOT NULL,
        model TEXT NOT NULL,
        price_version INTEGER NOT NULL,
        quote JSONB NOT NULL,
        billed JSONB,
        request JSONB NOT NULL,
        result JSONB,
        answer_status INTEGER,
        answer_code TEXT,
        answer_message TEXT,
        claims INTEGER DEFAULT 0 NOT NULL,
        abandoned_at TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        settled_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_generations PRIMARY KEY (account_id, env, id),
        CONSTRAINT fk_generations_account_id_env_key_id FOREIGN KEY(account_id, env, key_id)
            REFERENCES api_keys (account_id, env, id),
        CONSTRAINT ck_generations_state CHECK (state IN ('queued', 'running', 'in_doubt', 'captured', 'voided')),
        CONSTRAINT ck_generations_outcome CHECK ((state = 'voided') = (outcome IS NOT NULL)
            AND outcome IN ('final', 'lost')),
        CONSTRAINT ck_generations_epoch CHECK (epoch BETWEEN 1 AND 3),
        CONSTRAINT ck_generations_charged_within_hold
            CHECK (0 <= charged_tokens AND charged_tokens <= hold_tokens),
        CONSTRAINT ck_generations_charged_when_captured
            CHECK (state = 'captured' OR charged_tokens = 0),
        CONSTRAINT ck_generations_settled_at CHECK ((state IN ('queued', 'running', 'in_doubt')) = (settled_at IS NULL))
    )
    """,
    """
    CREATE INDEX ix_generations_open ON generations (worker_id, expires_at)
    WHERE state IN ('queued', 'running', 'in_doubt')
    """,
    """
    CREATE UNIQUE INDEX uq_generations_idempotency_key ON generations (account_id, env, idempotency_key)
    WHERE idempotency_key IS NOT NULL
    """,
)

GRANTS = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'imagegate_app') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO imagegate_app', current_schema());
        GRANT SELECT, INSERT, UPDATE, DELETE ON accounts, api_keys, attempts, budgets, generations, images, instance,
            prices, versions, wallets, workers TO imagegate_app;
        GRANT SELECT, INSERT ON transfers TO imagegate_app;
        GRANT SELECT ON alembic_version TO imagegate_app;
    END IF;
END $$
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(GRANTS)


def downgrade() -> None:
    raise RuntimeError("the first schema cannot be taken back: that would drop every wallet")
