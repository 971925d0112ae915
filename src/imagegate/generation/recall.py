"""Recognises a request that was made before: replays what came of it, or attaches to it while it runs.

By idempotency key, for a day; and for callers that send none, by equality, once a caller has left or its library says
that it tries again.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pybase64
import structlog
from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagegate.db.base import LOST
from imagegate.domain import Asked, Generation, Image, Principal
from imagegate.errors import (
    BillingUnavailable,
    CallerError,
    Conflict,
    GenerationPending,
    ImagegateError,
    NotFound,
)
from imagegate.generation import records, summary
from imagegate.generation.purge import GONE
from imagegate.ids import public_id
from imagegate.journal.items import Claim, Existing
from imagegate.media.objects import is_unharmed
from imagegate.services import Services

log = structlog.get_logger()

LONGEST_WAIT_S = 60.0
RETRY_AFTER_S = 5
MOST_EPOCHS = 3

BY_KEY = text(
    """
    SELECT id, state, outcome, epoch, fingerprint FROM generations
    WHERE account_id = :account_id AND env = :env AND idempotency_key = :key
        AND (created_at > now() - interval '24 hours' OR state IN ('queued', 'running', 'in_doubt'))
    """
)


def fingerprint_of(principal: Principal, asked: Asked, said: Mapping[str, Any]) -> bytes:
    """SHA-256 over what was asked, by whom and where: equal requests have equal ones."""
    whole = [principal.account_id, principal.env, asked.route, sorted(said.items())]
    return hashlib.sha256(to_json(whole)).digest()


async def find(services: Services, principal: Principal, asked: Asked, fingerprint: bytes) -> Existing | None:
    """The generation that this request means, if it is to be told again. A request that says nothing is new.

    Raises Conflict 422 for a key that was used with another request; BillingUnavailable.
    """
    if asked.idempotency_key is None:
        if not asked.retry:
            return None
        claim = Claim(principal.account_id, principal.env, principal.key_id, fingerprint, asked.retry)
        return await services.journal.claim(claim)
    owner = {"account_id": principal.account_id, "env": principal.env, "key": asked.idempotency_key}
    try:
        async with services.engine.connect() as connection:
            row = (await connection.execute(BY_KEY, owner)).one_or_none()
    except (DBAPIError, PoolTimeout, *LOST):
        raise BillingUnavailable from None
    if row is None:
        return None
    check_same(row.fingerprint, fingerprint)
    if row.state == "voided" and row.outcome == "lost" and row.epoch < MOST_EPOCHS:
        return None
    return Existing(row.id, row.state, row.fingerprint)


def check_same(known: bytes | None, fingerprint: bytes) -> None:
    """Raises Conflict 422 when the key stands for another request."""
    if known is not None and known != fingerprint:
        raise Conflict(
            "This Idempotency-Key was used with another request. Use a new key for a new request. Nothing was charged.",
            code="idempotency_key_reused",
            status=422,
        )


async def retell(services: Services, principal: Principal, asked: Asked, known: Existing) -> Generation:
    """What came of a generation that is known, waited for while it runs; its images with their bytes again.

    Raises the error that it ended with; Conflict 409 `idempotency_in_progress` (with a key) or GenerationPending
    while it still runs; Conflict 410 once its images are gone.
    """
    wait_s = min(services.settings.deadline_s, LONGEST_WAIT_S)
    ended = await services.status.watch.ended(
        services.engine, (principal.account_id, principal.env, known.generation_id), wait_s
    )
    name = public_id("gen", known.generation_id)
    if not ended:
        raise in_progress(asked, name)
    async with services.engine.connect() as connection:
        generation = await records.get_generation(connection, principal, name)
    if generation.status != "completed":
        error = remembered(generation)
        summary.replayed(services, principal, asked, generation, error)
        raise error
    images = await asyncio.gather(*(with_bytes(services, image) for image in generation.images))
    summary.replayed(services, principal, asked, generation)
    return replace(generation, images=tuple(images), replayed=True)


def in_progress(asked: Asked, name: str) -> ImagegateError:
    told = f"{name} is still being made. Ask again shortly, or fetch it: GET /v1/images/generations/{name}"
    if asked.idempotency_key is None:
        return GenerationPending(told)
    return Conflict(told, code="idempotency_in_progress", retry_after_s=RETRY_AFTER_S)


async def with_bytes(services: Services, image: Image) -> Image:
    """The image as it was just after it was made. Raises Conflict 410 when its bytes are gone, or are others."""
    try:
        data = await services.store.get(image.object)
    except NotFound:
        raise Conflict(GONE, code="result_gone", status=410) from None
    b64 = await services.pool.run(encoded, image.object, data)
    if b64 is None:
        log.error("image_harmed", object=image.object)
        raise Conflict(GONE, code="result_gone", status=410)
    return replace(image, b64=b64)


def encoded(name: str, data: bytes) -> bytes | None:
    """Blocking. None: a store gave other bytes than were put there."""
    return pybase64.b64encode(data) if is_unharmed(name, data) else None


def remembered(generation: Generation) -> ImagegateError:
    """The error that a generation ended with, as its first caller was told it."""
    code, status = generation.error_code or "internal_error", generation.error_status or 500
    kind = KINDS.get(code) or (CallerError if status < 500 else ImagegateError)
    error = ImagegateError(generation.error_message or "The generation failed. Nothing was charged.")
    error.status, error.code, error.type = status, code, kind.type
    tried = max((attempt.epoch or 1 for attempt in generation.attempts), default=1)
    error.should_retry = kind.should_retry and status in (408, 409, 429, 503) and tried < MOST_EPOCHS
    error.retry_after_s = RETRY_AFTER_S if error.should_retry else None
    return error


def _descendants(kind: type[ImagegateError]) -> Iterator[type[ImagegateError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


KINDS: dict[str, type[ImagegateError]] = {
    kind.code: kind for kind in _descendants(ImagegateError) if "code" in vars(kind)
}
