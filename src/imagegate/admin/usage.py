"""What operators see of usage: who made how much of what, what it was charged and what it cost upstream."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.moments import timestamp
from imagegate.errors import InvalidRequest
from imagegate.generation.usage import (
    BUCKETS,
    DIMENSIONS,
    Bucket,
    Dimension,
    Usage,
    Wanted,
    read_latest,
    read_usage,
)
from imagegate.identity.accounts import read_account
from imagegate.ids import public_id

COUNTS = ("generations", "images", "errors", "charged_tokens", "cost_usd", "at_risk_usd")


def read_dimensions(said: Sequence[str]) -> tuple[Dimension, ...]:
    """`["model", "size,quality"]` → the dimensions, in this order, each once. Raises InvalidRequest."""
    names = [name.strip() for text in said for name in text.split(",") if name.strip()]
    found = tuple(known for name in dict.fromkeys(names) for known in DIMENSIONS if known == name)
    if unknown := [name for name in names if name not in DIMENSIONS]:
        known = ", ".join(DIMENSIONS)
        raise InvalidRequest(f"Usage is not told by {unknown[0][:40]!r}, but by: {known}.", param="by")
    return found


def read_bucket(said: str) -> Bucket:
    """Raises InvalidRequest."""
    for known in BUCKETS:
        if known == said:
            return known
    raise InvalidRequest(f"bucket is one of: {', '.join(BUCKETS)}.", param="bucket")


async def show_usage(
    tx: AsyncConnection,
    *,
    since: datetime,
    until: datetime,
    by: tuple[Dimension, ...] = (),
    bucket: Bucket = "none",
    account: str | None = None,
    env: str | None = None,
    latest: int | None = None,
) -> dict[str, Any]:
    """account: `acc_…` or a name; None: all. latest: the rows of the last buckets, so many at most; None: all rows.

    `tx` is tuned for this and should end after it. Raises InvalidRequest and NotFound.
    """
    owner = (await read_account(tx, account)).id if account is not None else None
    wanted = Wanted(since, until, by, bucket, owner, env)
    rows = await (read_usage(tx, wanted) if latest is None else read_latest(tx, wanted, latest))
    return {
        "since": timestamp(since),
        "until": timestamp(until),
        "env": env,
        "by": list(by),
        "bucket": bucket,
        "rows": [usage_json(by, row) for row in rows],
    }


def usage_json(by: Sequence[Dimension], usage: Usage) -> dict[str, Any]:
    """The dimensions by their names, null where there is none; USD are decimal text."""
    return {
        **({"at": timestamp(usage.at)} if usage.at else {}),
        **{name: value_json(value) for name, value in zip(by, usage.values, strict=True)},
        "generations": usage.generations,
        "images": usage.images,
        "errors": usage.errors,
        "charged_tokens": usage.charged_tokens,
        "cost_usd": f"{usage.cost_usd:f}",
        "at_risk_usd": f"{usage.at_risk_usd:f}",
    }


def value_json(value: str | UUID | None) -> str | None:
    return public_id("key", value) if isinstance(value, UUID) else value
