"""What an operator finds generations by: across all accounts, newest first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.generations import Summary, find, is_id, summaries, with_attempts
from imagegate.errors import InvalidRequest
from imagegate.generation.listing import status_is
from imagegate.identity.accounts import read_account
from imagegate.identity.tables import api_keys
from imagegate.ids import parse_public_id
from imagegate.journal.tables import attempts, generations

LEAST_DIGITS, WHOLE_ID = 4, 32
SPANS = (*(timedelta(hours=3**n) for n in range(7)), None)
SHORT = timedelta(days=4)
"""How far back a search looks before it looks further: the index by time makes a short look a cheap one."""


@dataclass(frozen=True, slots=True)
class Search:
    """None = any. account: `acc_…` or a name. key: `key_…`. class_ and provider: of one and the same attempt.

    id_text: at least 4 hex digits that the id contains, with or without `gen_`. since <= creation < until.
    model: an id. status: as callers see it. prompt: text that it has in it, large or small letters.
    """

    account: str | None = None
    env: str | None = None
    status: str | None = None
    model: str | None = None
    key: str | None = None
    team: str | None = None
    app: str | None = None
    provider: str | None = None
    class_: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    id_text: str | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """since: no further back was looked, though there may be more; None: these are all, or as many as were wanted."""

    rows: list[Summary]
    since: datetime | None


async def search(
    connection: AsyncConnection, wanted: Search, after: UUID | None, limit: int
) -> list[Summary]:
    """At most `limit` generations of all accounts, newest first. after: the id of the last one seen.

    Raises InvalidRequest, and NotFound for an unknown account or `after`.
    """
    return (await search_for(connection, wanted, after, limit, None)).rows


async def search_for(
    connection: AsyncConnection, wanted: Search, after: UUID | None, limit: int, patience_s: float | None
) -> Found:
    """As `search`. patience_s: after this no further look back is begun; the last one may take about twice as long."""
    where, began = await conditions(connection, wanted), monotonic()
    latest = wanted.until or datetime.now(UTC)
    if after is not None:
        last = await find(connection, after.hex)
        latest = min(latest, last.created_at)
        seen = tuple_(literal(last.created_at), literal(last.id))
        where.append(generations.c.created_at <= last.created_at)
        where.append(tuple_(generations.c.created_at, generations.c.id) < seen)
    newest_first = (generations.c.created_at.desc(), generations.c.id.desc())
    query = summaries().where(*where).order_by(*newest_first)
    rows: list[Row[Any]] = []
    stopped, before = None, None
    for since in looks_back(latest, wanted):
        look = query.where(generations.c.created_at >= since) if since is not None else query
        look = look.where(generations.c.created_at < before) if before is not None else look
        look = look.where(*was_tried(wanted, few=since is not None and latest - since <= SHORT))
        rows += (await connection.execute(look.limit(limit - len(rows)))).all()
        if len(rows) >= limit or since is None or since == wanted.since:
            break
        before = since
        if patience_s is not None and monotonic() - began > patience_s:
            stopped = since
            break
    return Found(await with_attempts(connection, rows), stopped)


def looks_back(latest: datetime, wanted: Search) -> Iterator[datetime | None]:
    """How far each look goes, the last one as far as is wanted. A whole id needs one look alone."""
    whole = wanted.id_text is not None and len(digits_of(wanted.id_text)) == WHOLE_ID
    for span in SPANS[-1:] if whole else SPANS:
        since = latest - span if span is not None else wanted.since
        if wanted.since is not None and (since is None or since <= wanted.since):
            yield wanted.since
            return
        yield since


async def conditions(connection: AsyncConnection, wanted: Search) -> list[ColumnElement[bool]]:
    g = generations.c
    equal = (
        (g.env, wanted.env),
        (g.model, wanted.model),
        (g.app_id, wanted.app),
        (api_keys.c.team, wanted.team),
    )
    found: list[ColumnElement[bool]] = [column == value for column, value in equal if value is not None]
    if wanted.account is not None:
        found.append(g.account_id == (await read_account(connection, wanted.account)).id)
    if wanted.status is not None:
        found.append(status_is(wanted.status))
    if wanted.key is not None:
        if (key_id := parse_public_id("key", wanted.key)) is None:
            raise InvalidRequest("key is the id of an API key: key_ and 32 hex digits.", param="key")
        found.append(g.key_id == key_id)
    if wanted.since is not None:
        found.append(g.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(g.created_at < wanted.until)
    if wanted.prompt is not None:
        found.append(g.request["prompt"].astext.icontains(wanted.prompt, autoescape=True))
    if wanted.id_text is not None:
        found.append(id_has(wanted.id_text))
    return found


def digits_of(text: str) -> str:
    return text.strip().lower().removeprefix("gen_").replace("-", "")


def id_has(text: str) -> ColumnElement[bool]:
    digits = digits_of(text)
    if not re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},{WHOLE_ID}}}", digits):
        said = f"The text of an id has {LEAST_DIGITS} to 32 hex digits, as 0190f3a2."
        raise InvalidRequest(said, param="id")
    if len(digits) == WHOLE_ID:
        return is_id(UUID(hex=digits))
    return func.replace(func.text(generations.c.id), "-", "").contains(digits)


def was_tried(wanted: Search, few: bool) -> list[ColumnElement[bool]]:
    """few: attempts are looked up for each generation. Else the planner may read all there are, and join them."""
    if wanted.provider is None and wanted.class_ is None:
        return []
    its = [getattr(attempts.c, name) == getattr(generations.c, name) for name in ("account_id", "env")]
    query = select(attempts.c.seq).where(*its, attempts.c.generation_id == generations.c.id)
    if wanted.provider is not None:
        query = query.where(attempts.c.provider == wanted.provider)
    if wanted.class_ is not None:
        query = query.where(attempts.c["class"] == wanted.class_)
    return [(query.offset(0) if few else query).exists()]
