"""Reads what a batch is decided on, under the wallets' locks, in one statement; and writes what was decided."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json

from imagegate.journal.books import Books, Known, Limit, Rows
from imagegate.journal.items import Change, Claim, Item, Open
from imagegate.journal.statements import FREE_KEYS, READ, apply_statement
from imagegate.ledger.holds import Wallet


async def read(tx: Any, items: Sequence[Item]) -> Books:
    """The wallets, generations, keys, limits and budgets that the items depend on."""
    books = Books({}, {}, set())
    for row in await tx.fetch(READ, *questions(items)):
        more = from_json(row["more"]) if row["more"] else {}
        key = row["account_id"], row["env"]
        kind = row["kind"]
        if kind == "generation":
            books.generations[row["id"]] = known_from_row(row, more, books.generations.get(row["id"]))
        elif kind == "key":
            books.usable_keys.add(row["id"])
            if more["expires"]:
                books.expiring_keys.add(row["id"])
        elif kind == "wallet":
            books.wallets[key] = Wallet(
                *key, row["posted"], row["hold_tokens"], row["version"], row["revision"]
            )
        elif kind == "left":
            books.left.setdefault(key, []).append(row["fingerprint"])
        elif kind == "limit":
            books.limits.setdefault(key, []).append(Limit(**more))
        else:
            name = (*key, more["scope"], more["scope_id"], more["period"])
            books.budgets[name] = row["posted"], row["hold_tokens"]
    return books


def questions(items: Sequence[Item]) -> tuple[list[Any], ...]:
    """The parameters of READ."""
    named = [item for item in items if isinstance(item, Change)]
    paying = [item for item in items if isinstance(item, Open | Claim)]
    keyed = [item for item in paying if isinstance(item, Open) and item.idempotency_key]
    unkeyed = [item for item in paying if not getattr(item, "idempotency_key", None)]
    return (
        *columns(named, "account_id", "env", "generation_id"),
        *columns(paying, "account_id", "env"),
        *columns(keyed, "account_id", "env", "idempotency_key"),
        *columns(unkeyed, "account_id", "env", "fingerprint"),
        [item.retry > 0 for item in unkeyed],
        *columns(paying, "key_id"),
        *columns(items, "account_id", "env"),
    )


def columns(items: Sequence[Any], *names: str) -> list[list[Any]]:
    return [[getattr(item, name) for item in items] for name in names]


def known_from_row(row: Any, more: dict[str, Any], before: Known | None) -> Known:
    """`before`: the same generation, read for another reason; what only one of both tells is kept."""
    return Known(
        row["account_id"],
        row["env"],
        row["id"],
        row["state"],
        row["epoch"],
        row["hold_tokens"],
        worker_id=row["worker_id"],
        idempotency_key=row["idempotency_key"],
        fingerprint=row["fingerprint"],
        key_id=row["key_id"],
        outcome=more.get("outcome"),
        claims=more.get("claims") or 0,
        abandoned=bool(more.get("abandoned")),
        aged=bool(more.get("aged")) or (before is not None and before.aged),
        price_version=more.get("price_version") or 0,
        quote=quote_of(more) or (before.quote if before else None),
        counted=tuple((scope, scope_id, period) for scope, scope_id, period in more.get("counted") or ()),
        webhook_url=more.get("webhook_url") or (before.webhook_url if before else None),
    )


def quote_of(more: dict[str, Any]) -> str | None:
    quote = more.get("quote")
    return to_json(quote).decode() if quote is not None else None


async def apply(tx: Any, rows: Rows) -> None:
    """Write a batch, all of it or nothing: asyncpg's DivisionByZeroError when it was decided on what is no more."""
    if rows.freed:
        freed: list[list[UUID | str]] = columns(rows.freed, "account_id", "env", "id")
        await tx.execute(FREE_KEYS, *freed)
    tables = rows.tables()
    if tables:
        written = [to_json(table).decode() for table in tables.values()]
        expected = sum(len(table) for table in tables.values())
        await tx.fetch(apply_statement(tuple(tables)), *written, expected)
