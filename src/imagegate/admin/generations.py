"""What an operator does with a generation: look at it, give its tokens back, purge it.

Every JSON is the shape that the command line prints and HTTP answers.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin import bills
from imagegate.admin.moments import timestamp
from imagegate.catalogue.catalogue import Catalogue
from imagegate.errors import NotFound
from imagegate.generation.records import STATUS
from imagegate.identity.audit import Actor, record
from imagegate.identity.tables import accounts, api_keys
from imagegate.ids import public_id
from imagegate.journal import purging
from imagegate.journal.purging import Purged
from imagegate.journal.tables import attempts, generations, images
from imagegate.ledger import refunds
from imagegate.ledger.refunds import Refund
from imagegate.ledger.traces import transfers_of

ABSENT = "There is no such generation. Search for it: imagegate generations list"


def is_id(generation_id: UUID) -> ColumnElement[bool]:
    """One id, whosoever it is: the key begins with account and environment, so each of them is looked under."""
    g = generations.c
    return and_(g.account_id.in_(select(accounts.c.id)), g.env.in_(("live", "test")), g.id == generation_id)


def summaries() -> Select[Any]:
    """Generations with their account's name and their key's team."""
    columns = (("account_id", "account_id"), ("env", "env"), ("id", "key_id"))
    key = and_(*(api_keys.c[mine] == generations.c[its] for mine, its in columns))
    return (
        select(generations, accounts.c.name.label("account"), api_keys.c.team)
        .join(accounts, accounts.c.id == generations.c.account_id)
        .join(api_keys, key)
    )


async def find(connection: AsyncConnection, text: str) -> Row[Any]:
    """One generation by its whole id, `gen_…` or the UUID. Raises NotFound."""
    digits = text.strip().lower().removeprefix("gen_").replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        raise NotFound(ABSENT)
    rows = (await connection.execute(summaries().where(is_id(UUID(hex=digits))))).all()
    if not rows:
        raise NotFound(ABSENT)
    found: Row[Any] = rows[0]
    return found


@dataclass(frozen=True, slots=True)
class Summary:
    """A generation and its attempts, as rows."""

    row: Row[Any]
    tried: Sequence[Row[Any]]

    @property
    def id(self) -> UUID:
        found: UUID = self.row.id
        return found

    def to_json(self) -> dict[str, Any]:
        """USD are decimal text."""
        row, tried = self.row, self.tried
        cancelled = row.answer_code == "cancelled"
        return {
            "id": public_id("gen", row.id),
            "account": row.account,
            "account_id": public_id("acc", row.account_id),
            "env": row.env,
            "status": STATUS.get(row.state, "cancelled" if cancelled else "failed"),
            "model": row.model,
            "key": public_id("key", row.key_id),
            "team": row.team,
            "app": row.app_id,
            "created_at": timestamp(row.created_at),
            "completed_at": timestamp(row.settled_at),
            "requested_images": row.quote["n"],
            "images": (row.billed or {}).get("count", 0),
            "hold_tokens": row.hold_tokens,
            "charged_tokens": row.charged_tokens,
            "providers": list(dict.fromkeys(attempt.provider for attempt in tried)),
            "cost_usd": usd(sum(a.cost_usd for a in tried if a.cost_usd is not None)),
            "at_risk_usd": usd(sum(a.at_risk_usd for a in tried if a.at_risk_usd is not None)),
            "code": row.answer_code,
            "purged_at": (row.result or {}).get("purged_at"),
        }


async def with_attempts(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Summary]:
    """The rows with their attempts, which are read once for all."""
    a = attempts.c
    keys = [(row.account_id, row.env, row.id) for row in rows]
    tried: dict[UUID, list[Row[Any]]] = defaultdict(list)
    if keys:
        query = select(attempts).where(tuple_(a.account_id, a.env, a.generation_id).in_(keys))
        for attempt in await connection.execute(query.order_by(a.epoch, a.seq)):
            tried[attempt.generation_id].append(attempt)
    return [Summary(row, tried[row.id]) for row in rows]


def usd(amount: Any) -> str:
    return f"{amount:f}"


async def show(connection: AsyncConnection, catalogue: Catalogue, text: str) -> dict[str, Any]:
    """All that is known of one generation, its prompt too unless it was purged. Raises NotFound."""
    row = await find(connection, text)
    tried = (
        await connection.execute(children(attempts, row).order_by(attempts.c.epoch, attempts.c.seq))
    ).all()
    stored = (await connection.execute(children(images, row).order_by(images.c.idx))).all()
    moved = await transfers_of(connection, row.account_id, row.env, row.id)
    price = await bills.find_price(connection, catalogue, row)
    failed = row.state == "voided"
    error = {"status": row.answer_status, "code": row.answer_code, "message": row.answer_message}
    return {
        **Summary(row, tried).to_json(),
        "state": row.state,
        "outcome": row.outcome,
        "epoch": row.epoch,
        "idempotency_key": row.idempotency_key,
        "request": row.request,
        "usage": (row.result or {}).get("usage"),
        "moderation": row.moderation,
        "error": error if failed else None,
        "bill": bills.bill_json(row, price, moved),
        "attempts": [attempt_json(attempt) for attempt in tried],
        "stored": [image_json(image) for image in stored],
        "transfers": [transfer_json(transfer) for transfer in moved],
    }


def children(table: Any, row: Any) -> Select[Any]:
    its = (table.c.account_id == row.account_id, table.c.env == row.env, table.c.generation_id == row.id)
    return select(table).where(*its)


def attempt_json(row: Any) -> dict[str, Any]:
    plain = (
        "epoch",
        "seq",
        "provider",
        "offering",
        "class",
        "images",
        "detail",
        "upstream_id",
        "credential_id",
        "ms",
    )
    shown = {name: row._mapping[name] for name in plain}
    costs = {name: row._mapping[name] for name in ("cost_usd", "at_risk_usd")}
    return {
        **shown,
        "started_at": timestamp(row.started_at),
        **{name: usd(amount) if amount is not None else None for name, amount in costs.items()},
    }


def image_json(row: Any) -> dict[str, Any]:
    return {
        "object": row.object,
        "sha256": row.sha256.hex(),
        "bytes": row.bytes,
        "size": f"{row.width_px}x{row.height_px}",
        "mime": row.mime,
        "expires_at": timestamp(row.expires_at),
    }


def transfer_json(row: Any) -> dict[str, Any]:
    plain = (
        "kind",
        "debit",
        "credit",
        "tokens",
        "cause",
        "price_version",
        "balance_after",
        "reason",
        "actor",
    )
    shown = {name: row._mapping[name] for name in plain}
    return {"id": public_id("tr", row.id), **shown, "at": timestamp(row.at)}


async def refund(
    tx: AsyncConnection, text: str, *, cause: str, actor: Actor, tokens: int | None = None
) -> Refund:
    """Give back what is left of a charge, or `tokens` of it, once a cause. The wallet stays locked until `tx` ends.

    Raises NotFound, InvalidRequest and Conflict.
    """
    row = await find(tx, text)
    given = await refunds.refund(
        tx, row.account_id, row.env, row.id, cause=cause, reason=actor.reason, actor=actor.name, tokens=tokens
    )
    if given.new:
        detail = {"cause": cause, "tokens": given.tokens, "refunded_tokens": given.refunded_tokens}
        named = public_id("gen", row.id)
        await record(tx, actor, "generations.refund", named, account_id=row.account_id, detail=detail)
    return given


def refund_json(given: Refund) -> dict[str, Any]:
    """`new`: false when this cause had been refunded before and nothing was moved."""
    return {
        "id": public_id("tr", given.id),
        "generation": public_id("gen", given.generation_id),
        "cause": given.cause,
        "tokens": given.tokens,
        "charged_tokens": given.captured_tokens,
        "refunded_tokens": given.refunded_tokens,
        "available_tokens": given.wallet.available_tokens,
        "new": given.new,
    }


async def mark_purged(tx: AsyncConnection, text: str, actor: Actor) -> Purged:
    """Remove the prompt, and let the images go. Again is no error.

    Once `tx` is committed, and not before, the caller gives the answer to `remove_objects`.
    Raises NotFound, Conflict (still being made) and InvalidRequest.
    """
    row = await find(tx, text)
    purged = await purging.mark(tx, row.account_id, row.env, row.id)
    detail = {"images": purged.images, "purged_at": timestamp(purged.purged_at)}
    named = public_id("gen", row.id)
    await record(tx, actor, "generations.purge", named, account_id=row.account_id, detail=detail)
    return purged


def purged_json(purged: Purged, objects: int) -> dict[str, Any]:
    """`objects`: those that this purge deleted. purged_at: when it was purged first."""
    return {
        "id": public_id("gen", purged.generation_id),
        "purged_at": timestamp(purged.purged_at),
        "images": purged.images,
        "objects": objects,
    }
