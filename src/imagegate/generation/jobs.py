"""Async jobs as their worker sees them: made like any generation, put off while providers are busy, or given up."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text

from imagegate.domain import Asked, Attempt, GenerationRequest, Principal, Reservation
from imagegate.errors import (
    ImagegateError,
    JobExpired,
    ModerationUnavailable,
    NotFound,
    NotSent,
    RefusedUnbilled,
)
from imagegate.generation import inputs, pipeline, records, resuming, summary
from imagegate.generation.accepting import drop_pictures, kept_pictures
from imagegate.generation.admission import Admission, free, pictures_weight
from imagegate.generation.listening import Patient
from imagegate.generation.pipeline import Work
from imagegate.generation.progress import Execution
from imagegate.generation.settling import PATIENCE_S, void
from imagegate.ids import public_id
from imagegate.journal.items import Done, Drop, Requeue, Settled
from imagegate.services import Services

log = structlog.get_logger()

MOST_ATTEMPTS = 40
LONGEST_REST_S = 120.0
BATCH_ROWS = 500

CHOSEN = text(
    """
    SELECT account_id, env, id, key_id, epoch, model, quote, request, hold_tokens, moderation, job, fingerprint,
        extract(epoch FROM now() - created_at)::double precision AS age_s,
        EXISTS (SELECT 1 FROM attempts a WHERE a.account_id = g.account_id AND a.env = g.env
            AND a.generation_id = g.id AND a.epoch = g.epoch) AS tried
    FROM generations g WHERE account_id = :account_id AND env = :env AND id = :id
    """
)
EXPIRED = text(
    """
    SELECT account_id, env, id, key_id, model, job, jsonb_build_object('arrived', request -> 'arrived') AS request,
        extract(epoch FROM now() - created_at)::double precision AS age_s
    FROM generations WHERE state = 'queued' AND worker_id IS NULL AND expires_at <= now() LIMIT :rows
    """
)
OVER = text(
    """
    SELECT 1 FROM generations WHERE account_id = :account_id AND env = :env AND id = :id
        AND (state = 'captured' OR (state = 'voided' AND outcome = 'final'))
    """
)
TRIED = text(
    """
    SELECT * FROM attempts WHERE account_id = :account_id AND env = :env AND generation_id = :id AND epoch = :epoch
    ORDER BY seq
    """
)


async def run(services: Services, owner: tuple[UUID, str, UUID]) -> None:
    """Make the job's images. Whatever goes wrong is recorded, or found by the sweeper; nobody waits here."""
    named = dict(zip(("account_id", "env", "id"), owner, strict=True))
    try:
        async with services.engine.connect() as connection:
            row = (await connection.execute(CHOSEN, named)).one()
        deadline = asyncio.get_running_loop().time() + services.settings.deadline_s
        reservation = Reservation(
            row.id, row.epoch, principal_of(row), row.hold_tokens, deadline, row.request
        )
        await make(services, row, reservation)
        if row.request.get("images"):
            await drop_when_over(services, named)
    except Exception as error:
        log.warning("job_interrupted", generation=public_id("gen", owner[2]), error=type(error).__name__)
    finally:
        services.status.running.discard(owner[2])


async def make(services: Services, row: Any, reservation: Reservation) -> None:
    """Down the line with it. A failure that the caller will read is no news here."""
    try:
        work = await work_of(services, row, reservation)
        if work is not None:
            try:
                await services.spans.over("job", pipeline.owned(services, work, reservation))
            finally:
                free(services, work.admission)
    except ImagegateError as error:
        log.info("job_failed", generation=public_id("gen", row.id), code=error.code)


async def drop_when_over(services: Services, named: Mapping[str, Any]) -> None:
    """Remove the pictures that came with it, unless it may run once more."""
    async with services.engine.connect() as connection:
        over = (await connection.execute(OVER, named)).first() is not None
    if over:
        await drop_pictures(services, named["account_id"], named["env"], named["id"])


async def work_of(services: Services, row: Any, reservation: Reservation) -> Work | None:
    """The job as the line knows it. None: it cannot be made any more, and is voided."""
    try:
        request = await request_of(services, row)
        plan = resuming.pinned_plan(services, row, request, services.credentials.current)
    except ImagegateError as error:
        log.info("job_unplanned", generation=public_id("gen", row.id), code=error.code)
        await void(services, reservation, "final", error, Execution())
        return None
    tried = await attempts_of(services, row) if row.tried else []
    lease = services.load.lease(pictures_weight(request)) if request.images else None
    work = Work(
        reservation.principal,
        request,
        Asked("job"),
        Patient(),
        row.request,
        row.fingerprint,
        plan,
        Admission(plan.quote.n, request, lease=lease),
        reservation.deadline,
        row.id,
        run=Execution(attempts=tried),
    )
    work.postpone = partial(postpone, services, row, work.run)
    return work


async def attempts_of(services: Services, row: Any) -> list[Attempt]:
    """Those of this epoch: it was put off after them."""
    owner = {"account_id": row.account_id, "env": row.env, "id": row.id, "epoch": row.epoch}
    async with services.engine.connect() as connection:
        return [records.attempt_from(tried) for tried in (await connection.execute(TRIED, owner)).all()]


def principal_of(row: Any) -> Principal:
    """Under the labels and policies that held when it was accepted."""
    return Principal(row.account_id, row.env, row.key_id, **row.job["who"])


async def request_of(services: Services, row: Any) -> GenerationRequest:
    """The request as it was recorded, its pictures with their bytes. Raises NotFound when these are gone."""
    request = records.request_from(row.request)
    if not request.images:
        return request
    pictures = await kept_pictures(services, row.account_id, row.env, row.id)
    count = len(request.images)
    mask = pictures[count] if request.mask and len(pictures) > count else None
    whole = replace(request, images=tuple(pictures[:count]), mask=mask)
    if len(whole.images) < count or (mask is None) != (request.mask is None):
        raise NotFound("The pictures that came with the job are gone. Nothing was charged.")
    return await inputs.gather(services, principal_of(row), whole)


async def postpone(services: Services, row: Any, run: Execution) -> bool:
    """Put the job off where nobody can have billed and a provider may have room later. False: it fails now."""
    left_s = services.settings.job_expires_s - row.age_s - services.settings.deadline_s
    tries = len(run.attempts)
    passing = any(is_passing(error) for error in run.errors)
    if run.outcome != "lost" or not passing or tries >= MOST_ATTEMPTS or left_s <= 0:
        return False
    rest_s = min(2.0 ** min(tries, 7), LONGEST_REST_S, left_s) * random.uniform(0.8, 1.2)  # noqa: S311 jitter
    asked_s = max((getattr(error, "wait_s", None) or 0.0 for error in run.errors), default=0.0)
    item = Requeue(
        row.account_id,
        row.env,
        row.id,
        row.epoch,
        ttl_s=left_s,
        due_s=max(rest_s, min(asked_s, LONGEST_REST_S)),
        attempts=records.attempt_rows(run.attempts),
    )
    return isinstance(await services.journal.change(item, patience_s=PATIENCE_S), Done)


def is_passing(error: ImagegateError) -> bool:
    busy = isinstance(error, RefusedUnbilled) and error.busy
    return busy or isinstance(error, NotSent | ModerationUnavailable)


async def drop_expired(services: Services) -> int:
    """Give up the jobs whose turn did not come in time; returns how many those were."""
    async with services.engine.connect() as connection:
        rows = (await connection.execute(EXPIRED, {"rows": BATCH_ROWS})).all()
    error = JobExpired("The job was not begun before it expired. Nothing was charged; ask again.")
    row: Mapping[str, Any] = records.voided_row(error)
    dropped = 0
    for job in rows:
        item = Drop(job.account_id, job.env, job.id, row)
        if isinstance(await services.journal.change(item, patience_s=PATIENCE_S), Settled):
            await drop_pictures(services, job.account_id, job.env, job.id)
            summary.swept(services, job, "expired", 0)
            dropped += 1
    return dropped
