"""An event as its receiver reads it: what `GET /v1/images/generations/{id}` gives now, and what has happened.

{"type": "image.generation.completed", "timestamp": "2027-01-31T09:30:00Z", "data": {…}}
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ARRAY, Uuid, any_, literal, select

from imagegate.dialects.openai import reply
from imagegate.domain import Generation, Principal
from imagegate.generation.listing import with_details
from imagegate.generation.purge import is_gone
from imagegate.ids import public_id
from imagegate.journal.tables import generations
from imagegate.services import Services
from imagegate.web.media import links_at
from imagegate.webhooks.delivery import enveloped
from imagegate.webhooks.outbox import Event

log = structlog.get_logger()


async def event_bodies(services: Services, events: Sequence[Event]) -> dict[UUID, bytes]:
    """By event, its generation with fresh links, on the base of the request that asked for it.

    An event whose body cannot be made is left out, and logged.
    """
    bodies = {}
    read = await read_jobs(services, events)
    for event in events:
        if event.generation_id not in read:
            continue
        try:
            bodies[event.id] = event_body(services, event, *read[event.generation_id])
        except Exception:
            log.exception("webhook_bug", message=event.message_id)
    return bodies


def event_body(services: Services, event: Event, generation: Generation, job: dict[str, Any] | None) -> bytes:
    settings = services.settings
    if is_gone(generation, datetime.now(UTC)):
        data = reply.gone_object(generation, settings)
    else:
        base = (job or {}).get("link_base") or settings.public_url or ""
        data = reply.generation_object(generation, links_at(services, generation, base), settings)
    return enveloped(event.type, event.created_at, data)


async def read_jobs(
    services: Services, events: Sequence[Event]
) -> dict[UUID, tuple[Generation, dict[str, Any] | None]]:
    """The events' generations, each with what its job kept; three statements for each account's."""
    owners: dict[tuple[UUID, str], list[UUID]] = defaultdict(list)
    for event in events:
        owners[event.account_id, event.env].append(event.generation_id)
    found: dict[UUID, tuple[Generation, dict[str, Any] | None]] = {}
    g = generations.c
    async with services.engine.connect() as connection:
        for (account_id, env), ids in owners.items():
            theirs = g.id == any_(literal(ids, ARRAY(Uuid)))
            query = select(generations).where(g.account_id == account_id, g.env == env, theirs)
            rows = (await connection.execute(query)).all()
            owner = Principal(account_id, env, rows[0].key_id)
            try:
                read = await with_details(connection, owner, rows)
            except (LookupError, TypeError, ValueError):
                log.exception("webhook_bug", account=public_id("acc", account_id))
                continue
            found |= {row.id: (generation, row.job) for row, generation in zip(rows, read, strict=True)}
    return found
