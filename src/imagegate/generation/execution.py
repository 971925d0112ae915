"""Asks the candidates for the images that are still missing, in the order of the policy, and falls back.

The only layer that tries again: at most two attempts at one candidate, and only where the provider certainly billed
nothing and its retry budget has some left. What falls back to whom is told in docs/routing.md.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from imagegate.domain import Candidate, GenerationRequest, Plan, Reservation
from imagegate.errors import (
    Ambiguous,
    BilledInvalid,
    ContentRejected,
    Crowded,
    ImagegateError,
    NotSent,
    OutputBlocked,
    RefusedUnbilled,
)
from imagegate.generation.attempting import attempt, left_s, record_of
from imagegate.generation.choosing import in_order, policy_of
from imagegate.generation.inputs import Forms
from imagegate.generation.progress import Execution
from imagegate.routing.health import Record
from imagegate.services import Services

ATTEMPTS_A_CANDIDATE = 2
LONGEST_WAIT_S = 5.0
USUAL_WAIT_S = 0.5
JITTER = 0.25
"""A wait that a provider asked for is up to so much longer, so that those who wait do not come all at once."""


async def execute(
    services: Services, reservation: Reservation, plan: Plan, request: GenerationRequest, run: Execution
) -> None:
    """Fill `run`. Raises StorageUnavailable and Overloaded; what providers did wrong is in `run.errors`."""
    policy = policy_of(services, reservation.principal, request)
    forms = Forms(services.pool, request)
    resting = []
    for candidate in in_order(services, plan, policy):
        missing = plan.quote.n - len(run.images) - run.ended
        if missing <= 0 or left_s(reservation) <= 0:
            return
        if run.refused and candidate.offering.provider not in services.settings.refusal_providers:
            continue
        if not await _ask_for(services, reservation, candidate, forms, missing, run):
            resting.append(candidate)
    if plan.quote.n > len(run.images) + run.ended:
        for candidate in resting:
            _pass_over(services, candidate, run)


async def _ask_for(
    services: Services,
    reservation: Reservation,
    candidate: Candidate,
    forms: Forms,
    missing: int,
    run: Execution,
) -> bool:
    """All calls that the missing images take, at once; of an offering that rests, one that shows how it does first.

    False: it rests, and somebody else's call just finds out whether it is back.
    """
    health, offering = services.health, candidate.offering
    if services.load.is_busy(offering.provider):
        return False
    record = health.of(offering.provider, offering.upstream_model)
    parts = split(missing, candidate)
    if not health.is_clear(record):
        await _wait_out(services, reservation, record)
        if record.trying:
            return False
        if not health.is_clear(record):
            with health.trying(record):
                await _ask(services, reservation, candidate, record, forms, parts[0], run)
            parts = parts[1:] if health.is_clear(record) else ()
    calls = [_ask(services, reservation, candidate, record, forms, part, run) for part in parts]
    if len(calls) == 1:
        await calls[0]
    elif calls:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)
    return True


async def _wait_out(services: Services, reservation: Reservation, record: Record) -> None:
    """A provider that asked for a moment gets it, where the deadline allows."""
    if record.breaker.open_until is not None:
        return
    wait_s = record.not_before - services.health.clock()
    if 0 < wait_s <= min(LONGEST_WAIT_S, left_s(reservation)):
        await asyncio.sleep(wait_s * (1 + random.uniform(0, JITTER)))  # noqa: S311 jitter


def _pass_over(services: Services, candidate: Candidate, run: Execution) -> None:
    """It was not asked, and nobody else made the images: an attempt that says so."""
    record = services.health.of(candidate.offering.provider, candidate.offering.upstream_model)
    provider, until = candidate.offering.provider, services.health.until(record)
    when = f" until {until:%H:%M:%S} UTC" if until else ""
    if record.breaker.open_until is not None:
        error = NotSent(provider, f"is resting after failures{when}")
    elif services.load.is_busy(provider):
        error = Crowded(provider, "has as many calls of this gateway as it may")
    else:
        error = NotSent(provider, f"is busy and not asked{when}")
    run.attempts.append(
        replace(record_of(len(run.attempts), candidate), outcome=error.outcome, detail=error.message)
    )
    run.errors.append(error)


def split(images: int, candidate: Candidate) -> Sequence[int]:
    """5 images at an offering that makes 2 a call → 2, 2, 1."""
    most = candidate.fit.max_n
    return [min(most, images - done) for done in range(0, images, most)]


async def _ask(
    services: Services,
    reservation: Reservation,
    candidate: Candidate,
    record: Record,
    forms: Forms,
    images: int,
    run: Execution,
) -> None:
    """One call's worth of images from one candidate, with a second attempt where the provider was only busy."""
    for number in range(1, ATTEMPTS_A_CANDIDATE + 1):
        again = number > 1
        asking = attempt(services, reservation, candidate, record, forms, images, run, again=again)
        with services.load.calling(candidate.offering.provider):
            error = await services.spans.over("attempt", asking, candidate)
        if error is None:
            run.served = candidate
            return
        run.errors.append(error)
        if not isinstance(error, NotSent | RefusedUnbilled):
            if not _may_fall_back(services, candidate, error, run):
                run.ended += images
            return
        wait_s = _wait_s(services, candidate, error, number)
        if wait_s is None or wait_s >= left_s(reservation) or not services.health.may_try_again(record):
            return
        await asyncio.sleep(wait_s)


def _wait_s(
    services: Services, candidate: Candidate, error: NotSent | RefusedUnbilled, number: int
) -> float | None:
    """Seconds until the same candidate may be asked again, 0 with another key of ours; None = not at all."""
    if number < ATTEMPTS_A_CANDIDATE and services.credentials.helps(candidate.offering.provider, error):
        return 0.0
    busy = isinstance(error, NotSent) or error.busy
    if not busy or number == ATTEMPTS_A_CANDIDATE or (error.wait_s or 0) > LONGEST_WAIT_S:
        return None
    if error.wait_s is None:
        return random.uniform(0, USUAL_WAIT_S)  # noqa: S311 jitter
    return error.wait_s * (1 + random.uniform(0, JITTER))  # noqa: S311 jitter


def _may_fall_back(services: Services, candidate: Candidate, error: ImagegateError, run: Execution) -> bool:
    """After a failure that may have been billed, or a refusal: only where the operator has said so."""
    if isinstance(error, ContentRejected) and not isinstance(error, OutputBlocked):
        run.refused = run.refused or bool(services.settings.refusal_providers)
        return run.refused
    if isinstance(error, BilledInvalid | OutputBlocked):
        first = services.settings.billed_invalid_fallback and not run.invalid
        run.invalid = True
        return first
    return isinstance(error, Ambiguous) and candidate.offering.fallback_on_ambiguous
