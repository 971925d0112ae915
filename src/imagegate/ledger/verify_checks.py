"""The checks of `ledger verify`: each one query over one snapshot, whose rows are the offenders.

Written for millions of rows: each reads a table once, in order or into hashes that spill to disk, and none asks one
table again for each row of another.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    invariant: str
    says: str
    query: str


WALLETS = (
    Check(
        "I1",
        "a transfer moves both sides, between the ledger accounts of its kind, so that they sum to zero",
        """
        SELECT account_id, env, id, kind, debit, credit, tokens FROM transfers
        WHERE tokens <= 0 OR debit = credit OR (kind, debit, credit) NOT IN (
            ('top_up', 'funding', 'wallet'), ('grant', 'promo', 'wallet'), ('expire', 'wallet', 'promo'),
            ('capture', 'wallet', 'revenue'), ('refund', 'revenue', 'wallet'), ('usage', 'loss', 'revenue'),
            ('adjust', 'funding', 'wallet'), ('adjust', 'wallet', 'funding'))
        """,
    ),
    Check(
        "I2",
        "a wallet's posted tokens are the sum of its transfers and the balance of the last of them",
        """
        SELECT w.account_id, w.env, w.posted_tokens, w.version, t.total, t.versions, l.balance_after AS last_balance
        FROM wallets w LEFT JOIN (
            SELECT account_id, env, sum(CASE WHEN credit = 'wallet' THEN tokens ELSE -tokens END) AS total,
                count(*) AS versions, max(wallet_version) AS top
            FROM transfers WHERE wallet_version IS NOT NULL GROUP BY account_id, env) t USING (account_id, env)
        LEFT JOIN transfers l ON l.account_id = w.account_id AND l.env = w.env AND l.wallet_version = w.version
        WHERE w.posted_tokens <> coalesce(t.total, 0) OR w.posted_tokens <> coalesce(l.balance_after, 0)
            OR w.version <> coalesce(t.versions, 0) OR w.version <> coalesce(t.top, 0)
        """,
    ),
    Check(
        "I2",
        "a wallet's transfers are numbered without gaps, and each one's balance follows from the one before it",
        """
        SELECT account_id, env, id, wallet_version, balance_after FROM (
            SELECT account_id, env, id, wallet_version, balance_after,
                CASE WHEN credit = 'wallet' THEN tokens ELSE -tokens END AS signed,
                lag(wallet_version, 1, 0::bigint) OVER wallet AS version_before,
                lag(balance_after, 1, 0::bigint) OVER wallet AS balance_before
            FROM transfers WHERE wallet_version IS NOT NULL
            WINDOW wallet AS (PARTITION BY account_id, env ORDER BY wallet_version)) t
        WHERE wallet_version <> version_before + 1 OR balance_after <> balance_before + signed
        """,
    ),
    Check(
        "I3",
        "a wallet's held tokens are the holds of its open generations",
        """
        SELECT w.account_id, w.env, w.held_tokens, coalesce(g.holds, 0) AS holds
        FROM wallets w LEFT JOIN (
            SELECT account_id, env, sum(hold_tokens) AS holds FROM generations
            WHERE state IN ('queued', 'running', 'in_doubt') GROUP BY account_id, env) g USING (account_id, env)
        WHERE w.held_tokens <> coalesce(g.holds, 0)
        """,
    ),
    Check(
        "I3",
        "a budget's held tokens are the holds of the open generations that count on it",
        """
        SELECT account_id, env, scope, scope_id, period, b.held_tokens, c.holds
        FROM budgets b FULL JOIN (
            SELECT account_id, env, mark ->> 0 AS scope, mark ->> 1 AS scope_id, mark ->> 2 AS period,
                sum(hold_tokens) AS holds
            FROM generations, jsonb_array_elements(counted) AS mark
            WHERE state IN ('queued', 'running', 'in_doubt') AND jsonb_typeof(counted) = 'array'
            GROUP BY 1, 2, 3, 4, 5) c USING (account_id, env, scope, scope_id, period)
        WHERE coalesce(b.held_tokens, 0) <> coalesce(c.holds, 0)
        """,
    ),
    Check(
        "I4",
        "held tokens lie between zero and the posted tokens",
        "SELECT account_id, env, posted_tokens, held_tokens FROM wallets "
        "WHERE held_tokens < 0 OR held_tokens > posted_tokens",
    ),
)

GENERATIONS = (
    Check(
        "I5",
        "what a generation was charged, within its hold, is what was captured; only captured ones have a capture",
        """
        SELECT coalesce(g.account_id, t.account_id) AS account_id, coalesce(g.env, t.env) AS env,
            coalesce(g.id, t.generation_id) AS id, g.state, g.hold_tokens, g.charged_tokens, t.tokens
        FROM generations g
        FULL JOIN (SELECT account_id, env, generation_id, tokens FROM transfers WHERE kind = 'capture') t
            ON t.account_id = g.account_id AND t.env = g.env AND t.generation_id = g.id
        WHERE g.charged_tokens > g.hold_tokens OR coalesce(g.charged_tokens, 0) <> coalesce(t.tokens, 0)
            OR (t.generation_id IS NOT NULL AND g.state IS DISTINCT FROM 'captured')
        """,
    ),
    Check(
        "I5",
        "a generation is captured at most once",
        """
        SELECT account_id, env, generation_id, count(*) AS captures FROM transfers WHERE kind = 'capture'
        GROUP BY account_id, env, generation_id HAVING count(*) > 1
        """,
    ),
    Check(
        "I6",
        "the refunds of a generation, one per cause, stay within its capture together",
        """
        SELECT r.account_id, r.env, r.generation_id, c.tokens AS captured, r.refunded, r.refunds, r.causes FROM (
            SELECT account_id, env, generation_id, sum(tokens) AS refunded, count(*) AS refunds,
                count(DISTINCT cause) AS causes
            FROM transfers WHERE kind = 'refund' GROUP BY account_id, env, generation_id) r
        LEFT JOIN transfers c ON c.account_id = r.account_id AND c.env = r.env
            AND c.generation_id = r.generation_id AND c.kind = 'capture'
        WHERE r.refunded > coalesce(c.tokens, 0) OR r.refunds <> r.causes
        """,
    ),
    Check(
        "I7",
        "a captured generation has at least one image, any other has none",
        """
        SELECT coalesce(g.account_id, i.account_id) AS account_id, coalesce(g.env, i.env) AS env,
            coalesce(g.id, i.generation_id) AS id, g.state, i.idx
        FROM generations g FULL JOIN images i
            ON i.account_id = g.account_id AND i.env = g.env AND i.generation_id = g.id
        WHERE coalesce(g.state = 'captured', false) <> (i.idx IS NOT NULL)
        """,
    ),
    Check(
        "I9",
        "a generation whose answer was an error was charged nothing",
        "SELECT account_id, env, id, state, answer_status, charged_tokens FROM generations "
        "WHERE (state = 'voided' AND charged_tokens <> 0) OR (state = 'captured' AND answer_status <> 200)",
    ),
    Check(
        "I12",
        "a generation's price version is one the model, or the model it stands for, has had",
        """
        SELECT account_id, env, id, model, price_version FROM generations g
        WHERE NOT EXISTS (SELECT 1 FROM prices p WHERE p.version = g.price_version)
            OR (quote ->> 'price_version')::int <> price_version
        """,
    ),
    Check(
        "I14",
        "every generation ends within its time, a day where a provider can be polled",
        """
        SELECT account_id, env, id, state, expires_at FROM generations
        WHERE state IN ('queued', 'running', 'in_doubt') AND expires_at + interval '24 hours 1 minute' < now()
        """,
    ),
    Check(
        "I15",
        "a transfer, its wallet, its generation and its key belong to one account and environment",
        """
        SELECT t.account_id, t.env, t.generation_id AS id, 'no generation' AS missing
        FROM transfers t LEFT JOIN generations g
            ON g.account_id = t.account_id AND g.env = t.env AND g.id = t.generation_id
        WHERE t.generation_id IS NOT NULL AND t.kind <> 'capture' AND g.id IS NULL
        UNION ALL
        SELECT g.account_id, g.env, g.key_id, 'no key'
        FROM generations g LEFT JOIN api_keys k
            ON k.account_id = g.account_id AND k.env = g.env AND k.id = g.key_id
        WHERE k.id IS NULL
        """,
    ),
)

ROWS = (
    Check(
        "I16",
        "tokens are whole: no column of money is anything but an integer",
        """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = current_schema() AND column_name LIKE '%tokens' AND data_type <> 'bigint'
        """,
    ),
    Check(
        "I17",
        "a top-up applies once per account, source and external reference",
        """
        SELECT account_id, env, source, external_ref, count(*) AS n FROM transfers WHERE external_ref IS NOT NULL
        GROUP BY account_id, env, source, external_ref HAVING count(*) > 1
        """,
    ),
    Check(
        "I19",
        "an allowance is granted once a period, and what goes back of a grant is at most that grant, once",
        """
        WITH moved AS (
            SELECT account_id, env, kind, tokens, external_ref, wallet_version,
                split_part(external_ref, ':', 1) AS name, split_part(external_ref, ':', 2) AS period,
                split_part(external_ref, ':', 3) AS tail
            FROM transfers WHERE source = 'allowance')
        SELECT m.account_id, m.env, m.external_ref, m.kind, m.tokens
        FROM moved m LEFT JOIN allowances a ON a.account_id = m.account_id AND a.env = m.env
            AND 'alw_' || replace(a.id::text, '-', '') = m.name
        LEFT JOIN (SELECT account_id, env, name, period, count(*) AS n, sum(tokens) AS tokens,
                min(wallet_version) AS wallet_version
            FROM moved WHERE kind = 'grant' GROUP BY account_id, env, name, period) g
            ON g.account_id = m.account_id AND g.env = m.env AND g.name = m.name AND g.period = m.period
        WHERE a.id IS NULL OR g.n IS DISTINCT FROM 1
            OR (m.kind, m.tail) NOT IN (('grant', ''), ('expire', 'expire'))
            OR m.period !~ (CASE a.period WHEN 'day' THEN '^\\d{4}-\\d\\d-\\d\\d$' ELSE '^\\d{4}-\\d\\d$' END)
            OR (m.kind = 'expire' AND (m.tokens > g.tokens OR m.wallet_version < g.wallet_version))
        UNION ALL
        SELECT account_id, env, external_ref, kind, tokens FROM transfers
        WHERE kind = 'expire' AND source IS DISTINCT FROM 'allowance'
        """,
    ),
)

CHECKS = WALLETS + GENERATIONS + ROWS
