"""A database with a long history: what many accounts drew with many models in ninety days.

A few accounts do most of it, each has its usual models, and one in twenty-five requests fails; as it is in practice.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.identity import keys
from imagegate.identity.keys import Labels
from imagegate.ledger import wallets

DAYS = 90
Sold = tuple[str, str, str]
"""A model, who sells it, and another who does (or the same)."""

ID = """
    CREATE FUNCTION seed_id(at timestamptz, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008'
            || lpad(to_hex(i), 15, '0'))::uuid
    $$
"""
WORDS = "a hill lake night red car old man with blue hat in the rain tiny house on snow oil painting of cats".split()  # noqa: SIM905

GENERATIONS = """
    INSERT INTO generations (account_id, env, id, key_id, app_id, state, outcome, epoch, worker_id, expires_at,
        hold_tokens, charged_tokens, model, price_version, quote, billed, request, result, answer_status, answer_code,
        fingerprint, quarter_hour, created_at, settled_at)
    SELECT k.account_id, 'live', seed_id(at, i), k.key_id, k.app_id, CASE WHEN ok THEN 'captured' ELSE 'voided' END,
        CASE WHEN NOT ok THEN 'final' END, 1, k.key_id, at + interval '5 minutes', 5000 * n,
        CASE WHEN ok THEN 5000 * n ELSE 0 END, m.model, 1,
        jsonb_build_object('unit', 'image', 'image_tokens', '5000', 'n', n, 'size', size, 'quality', quality,
            'price_version', 1),
        CASE WHEN ok THEN jsonb_build_object('unit', 'image', 'size', size, 'quality', quality, 'count', n) END,
        jsonb_build_object('prompt', said, 'model', m.model, 'n', n, 'size', size, 'user', 'user-' || i % 997),
        CASE WHEN ok THEN jsonb_build_object('parameters', jsonb_build_array(
            jsonb_build_object('name', 'n', 'treatment', 'passed'),
            jsonb_build_object('name', 'size', 'treatment', 'passed'))) END,
        CASE WHEN ok THEN 200 ELSE 502 END, CASE WHEN NOT ok THEN 'all_providers_failed' END,
        decode(md5(i::text), 'hex'), floor(extract(epoch FROM at) / 900), at, at + length
    FROM (
        SELECT i, now() - (:rows - i + 1) * (interval '1 day' * :days / :rows) AS at, random() > 0.04 AS ok,
            CASE WHEN random() < 0.1 THEN 4 ELSE 1 END AS n, floor(:accounts * random() ^ 3)::int AS account,
            floor(6 * random() ^ 2)::int AS nth, floor(3 * random() ^ 2)::int AS key,
            (ARRAY['1024x1024', '1536x1024', '512x512'])[1 + floor(3 * random() ^ 2)::int] AS size,
            (ARRAY['medium', 'high', NULL])[1 + floor(3 * random() ^ 2)::int] AS quality,
            interval '1 second' * (2 + 20 * random() ^ 3) AS length,
            (SELECT string_agg(words.list[1 + floor(random() * cardinality(words.list))::int], ' ')
                FROM generate_series(1, 12 + i % 9), (SELECT CAST(:words AS text[])) AS words(list)) AS said
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS i OFFSET 0
    ) AS drawn
    JOIN seed_keys k ON k.account = drawn.account AND k.nth = drawn.key
    JOIN seed_models m ON m.nth = (drawn.account * 7 + drawn.nth * 5) % :models
    ORDER BY i
"""
ATTEMPTS = """
    INSERT INTO attempts (account_id, env, generation_id, epoch, seq, provider, offering, class, images, cost_usd,
        at_risk_usd, started_at, ms)
    SELECT account_id, env, id, 1, seq, CASE WHEN seq = 0 THEN m.provider ELSE m.other END, m.model,
        CASE WHEN g.state = 'captured' AND seq = tries - 1 THEN 'DELIVERED' ELSE 'REFUSED_UNBILLED' END,
        CASE WHEN g.state = 'captured' AND seq = tries - 1 THEN (g.quote ->> 'n')::int ELSE 0 END,
        CASE WHEN g.state = 'captured' AND seq = tries - 1 THEN 0.004 * (g.quote ->> 'n')::int END, NULL,
        g.created_at + interval '0.1 seconds', extract(epoch FROM g.settled_at - g.created_at) * 900
    FROM (SELECT *, CASE WHEN fingerprint < '\\x10' THEN 2 ELSE 1 END AS tries FROM generations) AS g
    JOIN seed_models m ON m.model = g.model CROSS JOIN LATERAL generate_series(0, tries - 1) AS seq
"""
IMAGES = """
    INSERT INTO images (account_id, env, generation_id, idx, object, sha256, bytes, width_px, height_px, mime,
        expires_at)
    SELECT account_id, env, id, idx,
        replace(account_id || '/live/' || id, '-', '') || '/1/' || idx || '-' || repeat('00', 32) || '.png',
        decode(repeat('00', 32), 'hex'), 4096, 256, 256,
        'image/png', now() + interval '1 day'
    FROM generations CROSS JOIN LATERAL generate_series(0, (quote ->> 'n')::int - 1) AS idx WHERE state = 'captured'
"""
TRANSFERS = """
    INSERT INTO transfers (account_id, env, id, wallet_version, debit, credit, tokens, kind, generation_id,
        price_version, balance_after, at)
    SELECT g.account_id, 'live', g.id, w.version + row_number() OVER mine, 'wallet', 'revenue', g.charged_tokens,
        'capture', g.id, 1, w.posted_tokens - sum(g.charged_tokens) OVER mine, g.settled_at
    FROM generations g JOIN wallets w ON w.account_id = g.account_id AND w.env = 'live' WHERE g.state = 'captured'
    WINDOW mine AS (PARTITION BY g.account_id ORDER BY g.id)
"""
WALLETS = """
    UPDATE wallets w SET posted_tokens = posted_tokens - t.tokens, version = version + t.n
    FROM (SELECT account_id, sum(tokens) AS tokens, count(*) AS n FROM transfers WHERE kind = 'capture' GROUP BY 1) t
    WHERE w.account_id = t.account_id AND w.env = 'live'
"""
STEP = 100_000


async def make_customers(tx: AsyncConnection, pepper: bytes, count: int) -> list[UUID]:
    """Accounts with three keys each, whose apps and teams they share with others. Returns them."""
    made = []
    await tx.execute(
        text("CREATE TABLE seed_keys (account int, nth int, account_id uuid, key_id uuid, app_id text)")
    )
    for number in range(count):
        account = await keys.create_account(tx, f"customer-{number:02}")
        await wallets.create_wallets(tx, account)
        await wallets.top_up(
            tx, account, "live", 10**12, reason="seed", actor="bench", funding=wallets.Funding()
        )
        made.append(account)
        for nth in range(3):
            labels = Labels(f"team-{number % 9}", f"app-{(number + nth) % 20}" if nth else None, None)
            key, _ = await keys.create_key(tx, pepper, account, "live", labels, None)
            row = {"number": number, "nth": nth, "account": account, "key": key, "app": labels.app}
            await tx.execute(text("INSERT INTO seed_keys VALUES (:number, :nth, :account, :key, :app)"), row)
    return made


async def fill(tx: AsyncConnection, accounts: int, sold: Sequence[Sold], rows: int) -> None:
    """`rows` generations with their attempts, images and captures, spread evenly over ninety days."""
    await tx.execute(text(ID))
    await tx.execute(text("SELECT setseed(0.5)"))
    await tx.execute(text("CREATE TABLE seed_models (nth int, model text, provider text, other text)"))
    for nth, (model, provider, other) in enumerate(sold):
        named = {"nth": nth, "model": model, "provider": provider, "other": other}
        await tx.execute(text("INSERT INTO seed_models VALUES (:nth, :model, :provider, :other)"), named)
    usual = {"rows": rows, "days": DAYS, "accounts": accounts, "models": len(sold), "words": WORDS}
    for first in range(1, rows + 1, STEP):
        await tx.execute(text(GENERATIONS), {**usual, "first": first, "last": min(first + STEP - 1, rows)})
    for statement in (ATTEMPTS, IMAGES, TRANSFERS, WALLETS, "DROP TABLE seed_keys", "DROP TABLE seed_models"):
        await tx.execute(text(statement))
    await tx.execute(text("DROP FUNCTION seed_id"))
