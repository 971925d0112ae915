"""What an operator finds generations by: across all accounts, newest first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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

LEAST_DIGITS = 4
SPANS = (timedelta(hours=1), timedelta(days=1), timedelta(days=30), None)
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


async def search(
    connection: AsyncConnection, wanted: Search, after: UUID | None, limit: int
) -> list[Summary]:
    """At most `limit` generations of all accounts, newest first. after: the id of the last one seen.

    Raises InvalidRequest, and NotFound for an unknown account or `after`.
    """
    where = await conditions(connection, wanted)
    latest = wanted.until or datetime.now(UTC)
    if after is not None:
        last = await find(connection, after.hex)
        latest = min(latest, last.created_at)
        seen = tuple_(literal(last.created_at), literal(last.id))
        where.append(generations.c.created_at <= last.created_at)
        where.append(tuple_(generations.c.created_at, generations.c.id) < seen)
    newest_first = (generations.c.created_at.desc(), generations.c.id.desc())
    query = summaries().where(*where).order_by(*newest_first).limit(limit)
    rows: Sequence[Row[Any]] = []
    for span in SPANS if wanted.id_text is None else SPANS[-1:]:
        window = query.where(generations.c.created_at >= latest - span) if span else query
        rows = (await connection.execute(window)).all()
        if len(rows) >= limit:
            break
    return await with_attempts(connection, rows)


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
    if wanted.provider is not None or wanted.class_ is not None:
        found.append(was_tried(wanted.provider, wanted.class_))
    return found


def id_has(text: str) -> ColumnElement[bool]:
    digits = text.strip().lower().removeprefix("gen_").replace("-", "")
    if not re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},32}}", digits):
        said = f"The text of an id has {LEAST_DIGITS} to 32 hex digits, as 0190f3a2."
        raise InvalidRequest(said, param="id")
    if len(digits) == 32:
        return is_id(UUID(hex=digits))
    return func.replace(func.text(generations.c.id), "-", "").contains(digits)


def was_tried(provider: str | None, class_: str | None) -> ColumnElement[bool]:
    its = [getattr(attempts.c, name) == getattr(generations.c, name) for name in ("account_id", "env")]
    query = select(attempts.c.seq).where(*its, attempts.c.generation_id == generations.c.id)
    if provider is not None:
        query = query.where(attempts.c.provider == provider)
    if class_ is not None:
        query = query.where(attempts.c["class"] == class_)
    return query.exists()
