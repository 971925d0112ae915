"""All that is known of one request: its generation with everything that hangs on it, by any id that names it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin import audit, generations
from imagegate.admin.moments import timestamp
from imagegate.admin.webhooks import ENVS, event_json
from imagegate.catalogue.catalogue import Catalogue
from imagegate.errors import NotFound
from imagegate.generation.listing import SLACK, first_id_of
from imagegate.identity.tables import accounts, audit_log
from imagegate.ids import made_at, parse_image_id, parse_public_id, public_id
from imagegate.journal.tables import generations as generation_rows
from imagegate.webhooks.tables import webhook_outbox

MOST_ENTRIES = 200
LONGEST_LOOK = timedelta(days=7)

Json = dict[str, Any]


async def show_request(connection: AsyncConnection, catalogue: Catalogue, text: str) -> Json:
    """As `generations.show`, with `job` and `webhooks`. text: `gen_…`, the id of one of its images or of an event.

    job: null for one that was waited for. Raises NotFound.
    """
    named = await generation_of(connection, text.strip())
    row = await generations.find(connection, named)
    job = {"due_at": timestamp(row.due_at), "claimed_at": timestamp(row.claimed_at), "claims": row.claims}
    return {
        **await generations.show(connection, catalogue, named),
        "job": job if row.job is not None else None,
        "expires_at": timestamp(row.expires_at),
        "abandoned_at": timestamp(row.abandoned_at),
        "webhooks": await events_of(connection, row),
    }


async def generation_of(connection: AsyncConnection, text: str) -> str:
    """The generation that an id leads to; what is no image's and no event's id stands for itself."""
    if (image := parse_image_id(text)) is not None:
        return image[0]
    event_id = parse_public_id("msg", text)
    if event_id is None:
        return text
    o = webhook_outbox.c
    owned = (o.account_id.in_(select(accounts.c.id)), o.env.in_(ENVS))
    found = (await connection.execute(select(o.generation_id).where(*owned, o.id == event_id))).scalar()
    if found is None:
        raise NotFound("There is no such event. List them: imagegate webhooks list --account NAME")
    return public_id("gen", found)


async def events_of(connection: AsyncConnection, generation: Any) -> list[Json]:
    """The webhook events of a generation's row, oldest first."""
    o, oldest = webhook_outbox.c, first_id_of(made_at(generation.id), -SLACK)
    its = (o.account_id == generation.account_id, o.env == generation.env, o.id >= oldest)
    query = select(webhook_outbox).where(*its, o.generation_id == generation.id).order_by(o.id)
    return [event_json(row, generation.account) for row in await connection.execute(query)]


async def show_by_request(connection: AsyncConnection, catalogue: Catalogue, request_id: str) -> Json:
    """What an HTTP request led to, by the id in its answer: the generations it opened, and what else it changed.

    Raises NotFound.
    """
    found = await opened_by(connection, request_id)
    query = select(audit_log).where(audit_log.c.request_id == request_id)
    entries = (await connection.execute(query.order_by(audit_log.c.id).limit(MOST_ENTRIES))).all()
    if not found and not entries:
        raise NotFound(
            f"No generation and no change is known under {request_id!r}. A refused request leaves none, and a repeated "
            "one leads to the generation of the first. Look at the newest: imagegate logs tail"
        )
    return {
        "request_id": request_id,
        "generations": [await show_request(connection, catalogue, public_id("gen", id_)) for id_ in found],
        "entries": [audit.entry_json(row) for row in entries],
    }


async def opened_by(connection: AsyncConnection, request_id: str) -> list[UUID]:
    """The generations a request opened. An id of ours tells when that was; for a caller's own a week is looked at."""
    made, g = parse_public_id("req", request_id), generation_rows.c
    since, until = datetime.now(UTC) - LONGEST_LOOK, datetime.now(UTC)
    if made is not None:
        since, until = made_at(made) - SLACK, made_at(made) + SLACK
    its = (g.created_at >= since, g.created_at <= until)
    said = g.request["arrived"]["request_id"].astext == request_id
    query = select(g.id).where(*its, said).order_by(g.id).limit(MOST_ENTRIES)
    return list((await connection.execute(query)).scalars())


def names_a_generation(text: str) -> bool:
    """Whether an id is a generation's, an image's or an event's; any other is an HTTP request's."""
    digits = re.fullmatch(r"(gen_|msg_)\S*|[0-9a-fA-F]{32}|[0-9a-fA-F-]{36}", text.strip())
    return digits is not None
