"""The statements of a journal batch that touch generations: what it reads, and what it writes at once."""

from functools import cache

from imagegate.ledger.holds import insert_transfers, update_wallets

NOW_QUARTER = "CAST(floor(extract(epoch FROM now()) / 900) AS integer)"
"""As it stands in `generations.quarter_hour`; of that column's type, or no index would be asked by it."""
LEFT_QUARTERS = 7
"""A generation that its caller left began at most so many quarters of an hour ago: its deadline is an hour at most, and
it can be adopted for a quarter of an hour."""

MOST_LEFT = 100
"""So many of an account's that callers left are told apart by fingerprint."""

READ = f"""
    WITH named AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS i(account_id, env, id)
    ), paying AS (
        SELECT DISTINCT account_id, env FROM unnest($4::uuid[], $5::text[]) AS i(account_id, env)
    ), asked AS (
        SELECT account_id, env, {NOW_QUARTER} - back AS quarter_hour, fingerprint, retried
        FROM unnest($9::uuid[], $10::text[], $11::bytea[], $12::boolean[]) AS i(account_id, env, fingerprint, retried),
            generate_series(0, {LEFT_QUARTERS}) AS back
    )
    SELECT kind, account_id, env, id, state, epoch, hold_tokens, worker_id, idempotency_key, fingerprint, key_id,
        posted, version, revision, more::text FROM (
    SELECT 'generation' AS kind, g.account_id, g.env, g.id, g.state, g.epoch, g.hold_tokens, g.worker_id,
        g.idempotency_key, g.fingerprint, g.key_id, NULL::bigint AS posted, NULL::bigint AS version,
        NULL::bigint AS revision, CASE WHEN g.counted IS NOT NULL OR g.claims > 0 OR g.abandoned_at IS NOT NULL
                OR g.job IS NOT NULL
            THEN json_build_object('counted', g.counted, 'claims', g.claims, 'outcome', g.outcome,
                'abandoned', g.abandoned_at IS NOT NULL, 'webhook_url', g.job ->> 'webhook_url') END AS more
    FROM generations g JOIN named USING (account_id, env, id)
    UNION ALL
    SELECT 'generation', account_id, env, id, state, epoch, hold_tokens, worker_id, idempotency_key, fingerprint,
        key_id, NULL, NULL, NULL, json_build_object('counted', counted, 'claims', claims, 'outcome', outcome,
            'abandoned', abandoned_at IS NOT NULL, 'quote', quote, 'price_version', price_version,
            'aged', created_at < now() - interval '24 hours')
    FROM generations WHERE (account_id, env, idempotency_key) IN (
        SELECT * FROM unnest($6::uuid[], $7::text[], $8::text[]))
    UNION ALL
    SELECT 'generation', g.account_id, g.env, g.id, g.state, g.epoch, g.hold_tokens, g.worker_id,
        g.idempotency_key, g.fingerprint, g.key_id, NULL, NULL, NULL,
        json_build_object('counted', counted, 'claims', claims, 'outcome', outcome,
            'abandoned', abandoned_at IS NOT NULL)
    FROM asked, LATERAL (
        SELECT * FROM generations WHERE (account_id, env, quarter_hour, fingerprint)
            = (asked.account_id, asked.env, asked.quarter_hour, asked.fingerprint) OFFSET 0) AS g
    WHERE g.abandoned_at > now() - interval '15 minutes'
        OR asked.retried AND g.created_at > now() - interval '15 minutes'
    UNION ALL
    SELECT 'left', account_id, env, NULL, NULL, NULL, NULL, NULL, NULL, found.fingerprint, NULL, NULL, NULL, NULL, NULL
    FROM paying, LATERAL (
        SELECT g.fingerprint FROM generations g WHERE (g.account_id, g.env) = (paying.account_id, paying.env)
            AND g.abandoned_at > now() - interval '15 minutes' LIMIT {MOST_LEFT} + 1) AS found
    UNION ALL
    SELECT 'key', k.account_id, k.env, k.id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        json_build_object('expires', k.expires_at IS NOT NULL)
    FROM api_keys k JOIN accounts a ON a.id = k.account_id
    WHERE (k.account_id, k.env, k.id) IN (SELECT * FROM unnest($4::uuid[], $5::text[], $13::uuid[]))
        AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND a.closed_at IS NULL
    UNION ALL
    SELECT 'limit', l.account_id, l.env, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        json_build_object('scope', l.scope, 'scope_id', l.scope_id, 'day_tokens', l.day_tokens,
            'month_tokens', l.month_tokens, 'day', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
            'month', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'),
            'day_left_s', 86400 - extract(epoch FROM now())::numeric % 86400)
    FROM limits l JOIN paying USING (account_id, env)
    WHERE l.day_tokens IS NOT NULL OR l.month_tokens IS NOT NULL
    UNION ALL
    SELECT 'budget', b.account_id, b.env, NULL, NULL, NULL, b.held_tokens, NULL, NULL, NULL, NULL, b.spent_tokens,
        NULL, NULL, json_build_object('scope', b.scope, 'scope_id', b.scope_id, 'period', b.period)
    FROM budgets b WHERE (b.account_id, b.env) IN (SELECT * FROM unnest($14::uuid[], $15::text[]))
        AND (b.held_tokens > 0 OR b.period IN (
            SELECT to_char(moment AT TIME ZONE 'UTC', pattern)
            FROM unnest(ARRAY[now(), now() - interval '24 hours']) AS moment,
                unnest(ARRAY['YYYY-MM-DD', 'YYYY-MM']) AS pattern))
    UNION ALL
    SELECT 'wallet', account_id, env, NULL, NULL, NULL, held_tokens, NULL, NULL, NULL, NULL, posted_tokens, version,
        revision, NULL
    FROM wallets WHERE (account_id, env) IN (SELECT * FROM unnest($14::uuid[], $15::text[]))
    ) AS found
"""  # noqa: S608 numbers and a function of ours, no value
"""OFFSET and LIMIT keep the database from another order: what is asked for first, then the rows, one by one."""

FREE_KEYS = """
    UPDATE generations SET idempotency_key = NULL
    WHERE (account_id, env, id) IN (SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[]))
"""

OPEN = """
    INSERT INTO generations (account_id, env, id, key_id, app_id, idempotency_key, fingerprint, state, epoch,
        worker_id, expires_at, hold_tokens, model, price_version, quote, request, moderation, counted, job, created_at,
        quarter_hour)
    SELECT account_id, env, id, key_id, app_id, idempotency_key, fingerprint,
        CASE WHEN job IS NULL THEN 'running' ELSE 'queued' END, 1,
        worker_id, now() + ttl_s * interval '1 second', hold_tokens, model, price_version, quote, request, moderation,
        counted, job, now(), floor(extract(epoch FROM now()) / 900)
    FROM jsonb_to_recordset({0}::text::jsonb) AS new(
        account_id uuid, env text, id uuid, key_id uuid, app_id text, idempotency_key text, fingerprint bytea,
        worker_id uuid, ttl_s double precision, hold_tokens bigint, model text, price_version integer,
        quote jsonb, request jsonb, moderation jsonb, counted jsonb, job jsonb)
    RETURNING 1
"""

UPDATE = """
    UPDATE generations AS g SET state = new.state, outcome = new.outcome, epoch = new.epoch,
        worker_id = new.worker_id, claims = new.claims,
        abandoned_at = CASE WHEN new.abandoned THEN coalesce(g.abandoned_at, now()) END,
        charged_tokens = CASE WHEN new.answers THEN new.charged_tokens ELSE g.charged_tokens END,
        billed = CASE WHEN new.answers THEN new.billed ELSE g.billed END,
        result = CASE WHEN new.answers THEN new.result ELSE g.result END,
        answer_status = CASE WHEN new.answers THEN new.answer_status ELSE g.answer_status END,
        answer_code = CASE WHEN new.answers THEN new.answer_code ELSE g.answer_code END,
        answer_message = CASE WHEN new.answers THEN new.answer_message ELSE g.answer_message END,
        moderation = CASE WHEN new.moderation IS NULL THEN g.moderation
            ELSE new.moderation || jsonb_build_object('verdicts',
                coalesce(g.moderation -> 'verdicts', '[]') || (new.moderation -> 'verdicts')) END,
        expires_at = coalesce(now() + new.ttl_s * interval '1 second', g.expires_at),
        due_at = now() + new.due_s * interval '1 second',
        claimed_at = CASE WHEN new.was_state = 'queued' AND new.state = 'running' THEN now() ELSE g.claimed_at END,
        settled_at = CASE WHEN new.state IN ('captured', 'voided') THEN coalesce(g.settled_at, now()) END
    FROM jsonb_to_recordset({0}::text::jsonb) AS new(
        account_id uuid, env text, id uuid, was_epoch integer, was_state text, epoch integer, state text, outcome text,
        worker_id uuid, claims integer, abandoned boolean, answers boolean, charged_tokens bigint, billed jsonb,
        result jsonb, answer_status integer, answer_code text, answer_message text, moderation jsonb,
        ttl_s double precision, due_s double precision)
    WHERE g.account_id = new.account_id AND g.env = new.env AND g.id = new.id AND g.epoch = new.was_epoch
        AND g.state = new.was_state
    RETURNING 1
"""

IMAGES = """
    INSERT INTO images (account_id, env, generation_id, idx, object, sha256, bytes, width_px, height_px, mime,
        revised_prompt, expires_at)
    SELECT account_id, env, generation_id, idx, object, sha256, bytes, width_px, height_px, mime,
        revised_prompt, now() + keep_h * interval '1 hour'
    FROM jsonb_to_recordset({0}::text::jsonb) AS new(
        account_id uuid, env text, generation_id uuid, idx integer, object text, sha256 bytea, bytes bigint,
        width_px integer, height_px integer, mime text, revised_prompt text, keep_h integer)
    RETURNING 1
"""

ATTEMPTS = """
    INSERT INTO attempts AS a (account_id, env, generation_id, epoch, seq, slot, provider, offering, credential_id,
        class, images, detail, upstream_id, upstream_url, cost_usd, at_risk_usd, started_at, ms)
    SELECT account_id, env, generation_id, epoch, seq, coalesce(slot, 0), provider, offering, credential_id,
        class, images, detail, upstream_id, upstream_url, cost_usd, at_risk_usd, started_at, ms
    FROM jsonb_populate_recordset(NULL::attempts, {0}::text::jsonb)
    ON CONFLICT (account_id, env, generation_id, epoch, seq) DO UPDATE SET class = excluded.class,
        images = excluded.images, detail = excluded.detail, ms = excluded.ms, cost_usd = excluded.cost_usd,
        at_risk_usd = excluded.at_risk_usd, upstream_id = coalesce(excluded.upstream_id, a.upstream_id),
        upstream_url = coalesce(excluded.upstream_url, a.upstream_url)
    RETURNING 1
"""

BUDGETS = """
    INSERT INTO budgets (account_id, env, scope, scope_id, period, spent_tokens, held_tokens)
    SELECT account_id, env, scope, scope_id, period, spent_tokens, held_tokens
    FROM jsonb_populate_recordset(NULL::budgets, {0}::text::jsonb)
    ON CONFLICT (account_id, env, scope, scope_id, period) DO UPDATE
        SET spent_tokens = excluded.spent_tokens, held_tokens = excluded.held_tokens
    RETURNING 1
"""

EVENTS = """
    INSERT INTO webhook_outbox (account_id, env, id, generation_id, type, url)
    SELECT account_id, env, id, generation_id, type, url
    FROM jsonb_to_recordset({0}::text::jsonb) AS new(
        account_id uuid, env text, id uuid, generation_id uuid, type text, url text)
    RETURNING 1
"""

PARTS = {
    "opened": OPEN,
    "updated": UPDATE,
    "images": IMAGES,
    "attempts": ATTEMPTS,
    "budgets": BUDGETS,
    "transfers": insert_transfers("{0}"),
    "events": EVENTS,
    "wallets": update_wallets("{0}"),
}
"""What a batch may write, by the name of its rows. Each takes them as JSON and gives a row for each."""


@cache
def apply_statement(parts: tuple[str, ...]) -> str:
    """One statement that writes the rows of `parts`, $1 … being their JSON and the last one the rows expected.

    It fails with a division by zero, and so writes nothing, when another number of rows was written: a wallet
    was at another revision, or a generation in another epoch, than the batch was decided on.
    """
    written = ", ".join(f"{name}_ AS ({PARTS[name].format(f'${i}')})" for i, name in enumerate(parts, 1))
    counted = " + ".join(f"(SELECT count(*) FROM {name}_)" for name in parts)  # noqa: S608 names of ours
    return f"WITH {written} SELECT 1 / (({counted}) = ${len(parts) + 1})::int"
