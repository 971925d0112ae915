"""The two statements of a journal batch that touch generations: what it reads, and what it writes at once."""

from imagegate.ledger.holds import insert_transfers, update_wallets

READ = """
    SELECT 'generation' AS kind, account_id, env, id, state, epoch, hold_tokens, worker_id, idempotency_key,
        fingerprint, NULL::boolean AS usable, NULL::bigint AS posted, NULL::bigint AS version, NULL::bigint AS revision
    FROM generations WHERE (account_id, env, id) IN (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[]))
    UNION ALL
    SELECT 'generation', account_id, env, id, state, epoch, hold_tokens, worker_id, idempotency_key,
        fingerprint, NULL, NULL, NULL, NULL
    FROM generations WHERE (account_id, env, idempotency_key) IN (
        SELECT * FROM unnest($4::uuid[], $5::text[], $6::text[]))
    UNION ALL
    SELECT 'key', k.account_id, k.env, k.id, NULL, NULL, NULL, NULL, NULL, NULL,
        k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND a.closed_at IS NULL,
        NULL, NULL, NULL
    FROM api_keys k JOIN accounts a ON a.id = k.account_id
    WHERE (k.account_id, k.env, k.id) IN (
        SELECT * FROM unnest($7::uuid[], $8::text[], $9::uuid[]))
    UNION ALL
    SELECT 'wallet', account_id, env, NULL, NULL, NULL, held_tokens, NULL, NULL, NULL, NULL, posted_tokens, version,
        revision
    FROM wallets WHERE (account_id, env) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
"""

APPLY = f"""
    WITH opened AS (
        INSERT INTO generations (account_id, env, id, key_id, app_id, idempotency_key, fingerprint, state, epoch,
            worker_id, expires_at, hold_tokens, model, price_version, quote, request, created_at)
        SELECT account_id, env, id, key_id, app_id, idempotency_key, fingerprint, 'running', 1,
            worker_id, now() + ttl_s * interval '1 second', hold_tokens, model, price_version, quote, request, now()
        FROM jsonb_to_recordset($1::text::jsonb) AS new(
            account_id uuid, env text, id uuid, key_id uuid, app_id text, idempotency_key text, fingerprint bytea,
            worker_id uuid, ttl_s double precision, hold_tokens bigint, model text, price_version integer,
            quote jsonb, request jsonb)
        RETURNING 1
    ), settled AS (
        UPDATE generations AS g SET state = new.state, outcome = new.outcome, charged_tokens = new.charged_tokens,
            billed = new.billed, result = new.result, answer_status = new.answer_status,
            answer_code = new.answer_code, answer_message = new.answer_message, settled_at = now()
        FROM jsonb_populate_recordset(NULL::generations, $2::text::jsonb) AS new
        WHERE g.account_id = new.account_id AND g.env = new.env AND g.id = new.id AND g.epoch = new.epoch
            AND g.state IN ('queued', 'running', 'in_doubt')
        RETURNING 1
    ), pictured AS (
        INSERT INTO images (account_id, env, generation_id, idx, object, sha256, bytes, width_px, height_px, mime,
            revised_prompt, expires_at)
        SELECT account_id, env, generation_id, idx, object, sha256, bytes, width_px, height_px, mime,
            revised_prompt, now() + keep_h * interval '1 hour'
        FROM jsonb_to_recordset($3::text::jsonb) AS new(
            account_id uuid, env text, generation_id uuid, idx integer, object text, sha256 bytea, bytes bigint,
            width_px integer, height_px integer, mime text, revised_prompt text, keep_h integer)
        RETURNING 1
    ), attempted AS (
        INSERT INTO attempts (account_id, env, generation_id, epoch, seq, slot, provider, offering, credential_id,
            class, images, detail, upstream_id, cost_usd, at_risk_usd, started_at, ms)
        SELECT account_id, env, generation_id, epoch, seq, coalesce(slot, 0), provider, offering, credential_id,
            class, images, detail, upstream_id, cost_usd, at_risk_usd, started_at, ms
        FROM jsonb_populate_recordset(NULL::attempts, $4::text::jsonb) RETURNING 1
    ), moved AS ({insert_transfers("$5")}), changed AS ({update_wallets("$6")})
    SELECT (SELECT count(*) FROM opened), (SELECT count(*) FROM settled), (SELECT count(*) FROM changed)
"""  # noqa: S608 placeholders, no values
