"""Tables as files for bookkeeping and analysis: which columns, how they are written, and their rows as a stream.

Ids are written as everywhere outside, times in UTC as RFC 3339, USD and tokens in full. A column that is not listed
here is not exported: no key's hash, nothing that is sealed, no place of a provider or a webhook.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Format = Literal["csv", "jsonl"]

IDS = {"account_id": "acc", "generation_id": "gen", "key_id": "key"}
OWNER = ("account_id", "env")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("id", "name", "created_at", "closed_at", "moderation", "keep_images_h", "keep_prompts_h"),
    "wallets": (*OWNER, "posted_tokens", "held_tokens", "version"),
    "transfers": (
        *(
            "id",
            *OWNER,
            "wallet_version",
            "kind",
            "debit",
            "credit",
            "tokens",
            "balance_after",
            "generation_id",
        ),
        *("price_version", "cause", "source", "external_ref", "reason", "actor", "at"),
    ),
    "generations": (
        *("id", *OWNER, "key_id", "app_id", "idempotency_key", "state", "outcome", "epoch", "model"),
        *(
            "price_version",
            "hold_tokens",
            "charged_tokens",
            "quote",
            "billed",
            "request",
            "result",
            "moderation",
        ),
        *("answer_status", "answer_code", "answer_message", "created_at", "claimed_at", "settled_at"),
    ),
    "attempts": (
        *("generation_id", *OWNER, "epoch", "seq", "slot", "provider", "offering", "credential_id", "class"),
        *("images", "detail", "upstream_id", "cost_usd", "at_risk_usd", "started_at", "ms"),
    ),
    "images": (
        *("generation_id", *OWNER, "idx", "object", "sha256", "bytes", "width_px", "height_px", "mime"),
        *("revised_prompt", "expires_at"),
    ),
}
OWN_IDS = {"accounts": "acc", "transfers": "tr", "generations": "gen"}
ORDER = {
    "accounts": "id",
    "wallets": "account_id, env",
    "transfers": "account_id, env, id",
    "generations": "account_id, env, id",
    "attempts": "account_id, env, generation_id, epoch, seq",
    "images": "account_id, env, generation_id, idx",
}
TIMES = ("at", "created_at", "closed_at", "claimed_at", "settled_at", "started_at", "expires_at")
ROWS_AT_ONCE = 2000


def query_of(table: str) -> str:
    """Of constants alone."""
    columns = ", ".join(f'{expression(table, name)} AS "{name}"' for name in COLUMNS[table])
    return f"SELECT {columns} FROM {table} ORDER BY {ORDER[table]}"  # noqa: S608 constants


def expression(table: str, name: str) -> str:
    kind = OWN_IDS.get(table) if name == "id" else IDS.get(name)
    if kind is not None:
        return f"'{kind}_' || replace({table}.{name}::text, '-', '')"
    if name in TIMES:
        return f'to_char({table}.{name}, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')'
    if name == "sha256":
        return f"encode({table}.{name}, 'hex')"
    if name == "request":
        return f"{table}.{name} - 'webhook_url'"
    if name.endswith("_usd"):
        return f"{table}.{name}::text"
    return f'{table}."{name}"'


async def write_table(
    connection: AsyncConnection, table: str, form: Format, path: Path, at_work: Callable[[int], None]
) -> int:
    """Write one table into an open-able file; returns its rows. `connection` is in a snapshot, whose clock is set to
    UTC. at_work: told how many rows of a JSON file are there, now and then."""
    await connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
    driver: Any = (await connection.get_raw_connection()).driver_connection
    with path.open("wb") as file:
        if form == "csv":
            done = await driver.copy_from_query(query_of(table), output=file, format="csv", header=True)
            return int(done.split()[-1])
        count = 0
        async for line in json_lines(driver, table):
            file.write(line.encode() + b"\n")
            count += 1
            if count % 100_000 == 0:
                at_work(count)
    return count


async def json_lines(driver: Any, table: str) -> AsyncIterator[str]:
    query = f"SELECT to_jsonb(t)::text FROM ({query_of(table)}) t"  # noqa: S608 constants
    async for row in driver.cursor(query, prefetch=ROWS_AT_ONCE):
        yield row[0]
