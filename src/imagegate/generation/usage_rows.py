"""Usage from generations and their attempts themselves, as statements of SQL: what sums are made of, and equal.

Everything of a generation counts in the bucket in which it was opened. What is the generation's own is counted
without its attempts, and what they cost is joined to as little of it as is grouped by: the join is what takes time.
"""

from collections.abc import Mapping, Sequence

COLUMNS: Mapping[str, str] = {
    "account": "c.name",
    "account_id": "g.account_id",
    "env": "g.env",
    "model": "g.model",
    "key": "g.key_id",
    "team": "k.team",
    "app": "g.app_id",
    "user": "g.request ->> 'user'",
    "provider": "a.provider",
    "size": "g.quote ->> 'size'",
    "quality": "g.quote ->> 'quality'",
}
JOINS: Mapping[str, str] = {
    "account": "JOIN accounts c ON c.id = g.account_id",
    "team": "JOIN api_keys k ON k.account_id = g.account_id AND k.env = g.env AND k.id = g.key_id",
}
COUNTS = ("generations", "images", "errors", "charged_tokens", "cost_usd", "at_risk_usd")
STORED = tuple("charged" if count == "charged_tokens" else count for count in COUNTS)
"""The same in the tables of sums, where what was charged may be broken."""
SAME = "{0}.account_id = {1}.account_id AND {0}.env = {1}.env AND {0}.generation_id = {1}.{2}"
FIRST = "a.epoch = 1 AND a.seq = 0"
COUNT = "(g.billed ->> 'count')::int"
FAILED = "g.state = 'voided' AND g.answer_code IS DISTINCT FROM 'cancelled'"
SHARE = f"CASE WHEN a.images = {COUNT} THEN g.charged_tokens ELSE g.charged_tokens * a.images::numeric / {COUNT} END"
OF_GENERATIONS = f"""count(*) AS generations, sum({COUNT}) AS images, count(*) FILTER (WHERE {FAILED}) AS errors,
        sum(g.charged_tokens) AS charged_tokens, NULL::numeric AS cost_usd, NULL::numeric AS at_risk_usd"""
OF_COSTS = "0, 0, 0, 0, sum(a.cost_usd), sum(a.at_risk_usd)"
OF_ATTEMPTS = f"""count(*) FILTER (WHERE {FIRST}) AS generations, sum(a.images) AS images,
        count(*) FILTER (WHERE a.class NOT IN ('DELIVERED', 'IN_FLIGHT')) AS errors,
        sum({SHARE}) AS charged_tokens, sum(a.cost_usd) AS cost_usd, sum(a.at_risk_usd) AS at_risk_usd"""
OF_OTHER_FIRSTS = "count(*), 0, 0, 0, NULL::numeric, NULL::numeric"

BUCKETED = """LEFT JOIN unnest(CAST(:buckets AS timestamptz[])) AS b(at)
            ON b.at = date_bin('1 {0}', {1}, '1970-01-01T00:00:00Z')"""
"""The planner takes every moment for a group of its own, but knows how few the buckets are; so it can count in
parallel. Each generation has its bucket; the outer join says so."""


NARROWED = """WITH generations AS MATERIALIZED (
        SELECT account_id, env, id, key_id, app_id, model, state, answer_code, billed, charged_tokens, quote,
            created_at{more}
        FROM ({rows}) AS g
    ), attempts AS MATERIALIZED (
        SELECT a.* FROM generations g CROSS JOIN LATERAL (SELECT * FROM attempts a WHERE {mine} OFFSET 0) AS a
    )"""
"""Stands before a query over few of the rows: it is then about these alone, and finds their attempts by the key.

Left to itself the planner would read all attempts that there ever were for those of an hour.
"""


def narrowed(rows: str, by: Sequence[str]) -> str:
    """rows: a query for generations. by: all that will be grouped by.

    A query of `parts_of` behind this has nothing more to ask for: its `where` is true.
    """
    more = ", request" if "user" in by else ""
    return NARROWED.format(rows=rows, more=more, mine=SAME.format("a", "g", "id"))


def parts_of(by: Sequence[str], bucket: str, where: str) -> tuple[str, str]:
    """Two queries whose rows have to be added up: columns d0, d1 … for `by`, `at` unless the bucket is `none`, COUNTS.

    where: of `g`, a generation. Parameters: its own, and :buckets, the beginnings of all buckets in it.
    """
    keys = [f"{COLUMNS[name]} AS d{index}" for index, name in enumerate(by)]
    joins = " ".join(JOINS[name] for name in by if name in JOINS)
    if bucket != "none":
        keys.append("b.at AS at")
        joins += f" {BUCKETED.format(bucket, 'g.created_at')}"
    select = f"SELECT {', '.join(keys)}{', ' if keys else ''}"
    grouped = f"GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else ""
    made, spent = halves("provider" in by, joins, where)
    return f"{select} {made} {grouped}", f"{select} {spent} {grouped}"


def halves(by_provider: bool, joins: str, where: str) -> tuple[str, str]:
    """What is added up. By provider: attempts, then those that are its first and not number 0 of epoch 1."""
    mine = SAME.format("a", "g", "id")
    if not by_provider:
        costly = "(a.cost_usd IS NOT NULL OR a.at_risk_usd IS NOT NULL)"
        return (
            f"{OF_GENERATIONS} FROM generations g {joins} WHERE {where}",
            f"{OF_COSTS} FROM generations g JOIN attempts a ON {mine} {joins} WHERE {where} AND {costly}",
        )
    earlier = f"{SAME.format('e', 'a', 'generation_id')} AND e.provider = a.provider"
    earlier += " AND (e.epoch, e.seq) < (a.epoch, a.seq)"
    tried = f"FROM generations g JOIN attempts a ON {mine} {joins} WHERE {where}"
    first = f"NOT EXISTS (SELECT FROM attempts e WHERE {earlier})"
    return f"{OF_ATTEMPTS} {tried}", f"{OF_OTHER_FIRSTS} {tried} AND (a.epoch > 1 OR a.seq > 0) AND {first}"


def added_up(names: Sequence[str], parts: Sequence[str]) -> str:
    """One row for each combination of `names`, columns of every part, with exact sums: tokens may be broken."""
    counts = ", ".join(f"coalesce(sum({count}), 0) AS {count}" for count in COUNTS)
    select = "".join(f"{name}, " for name in names)
    grouped = f"GROUP BY {', '.join(names)}" if names else ""
    together = " UNION ALL ".join(f"({part})" for part in parts)
    return f"SELECT {select}{counts} FROM ({together}) counted {grouped}"  # noqa: S608 nothing in it was said by anybody


def in_whole_tokens(names: Sequence[str], summed: str) -> str:
    """The rows of `summed`, which is made by `added_up`, with their counts as whole numbers."""
    whole = ", ".join(f"CAST(round({count}) AS bigint) AS {count}" for count in COUNTS[:4])
    return f"SELECT {''.join(f'{name}, ' for name in names)}{whole}, {', '.join(COUNTS[4:])} FROM ({summed}) exact"  # noqa: S608
