"""Asks the candidates for the images that are still missing, classifies every answer, and falls back.

The only layer that tries again: at most two attempts at one candidate, and only where the provider certainly
billed nothing.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from time import monotonic

import structlog

from imagegate import failpoints
from imagegate.catalogue.upstream_cost import delivered_cost_usd, image_cost_usd
from imagegate.domain import (
    Attempt,
    Candidate,
    Image,
    Plan,
    ProviderCall,
    ProviderResult,
    Reservation,
    UpstreamJob,
    unkept,
)
from imagegate.errors import (
    Ambiguous,
    AttemptFailed,
    BilledInvalid,
    ContentRejected,
    ImagegateError,
    InvalidRequest,
    NotSent,
    RefusedUnbilled,
    SettlementPending,
)
from imagegate.generation import records
from imagegate.generation.delivery import deliver
from imagegate.generation.progress import Execution, add_usage
from imagegate.journal.items import Accept
from imagegate.services import Services

log = structlog.get_logger()

ATTEMPTS_A_CANDIDATE = 2
LONGEST_WAIT_S = 5.0
ACCEPT_PATIENCE_S = 5.0


async def execute(
    services: Services, reservation: Reservation, plan: Plan, prompt: str, run: Execution
) -> None:
    """Fill `run`. Raises StorageUnavailable and Overloaded; what providers did wrong is in `run.errors`."""
    for candidate in plan.candidates:
        missing = plan.quote.n - len(run.images) - run.ended
        if missing <= 0 or _left_s(reservation) <= 0:
            break
        calls = [_ask(services, reservation, candidate, prompt, k, run) for k in split(missing, candidate)]
        if len(calls) == 1:
            await calls[0]
        else:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(call)


def split(images: int, candidate: Candidate) -> Sequence[int]:
    """5 images at an offering that makes 2 a call → 2, 2, 1."""
    most = candidate.offering.max_n
    return [min(most, images - done) for done in range(0, images, most)]


def _left_s(reservation: Reservation) -> float:
    return reservation.deadline - asyncio.get_running_loop().time()


async def _ask(
    services: Services,
    reservation: Reservation,
    candidate: Candidate,
    prompt: str,
    images: int,
    run: Execution,
) -> None:
    """One call's worth of images from one candidate, with a second attempt where the provider was only busy."""
    for attempt in range(1, ATTEMPTS_A_CANDIDATE + 1):
        error = await _attempt(services, reservation, candidate, prompt, images, run)
        if error is None:
            run.served = candidate
            return
        run.errors.append(error)
        if not isinstance(error, NotSent | RefusedUnbilled):
            run.ended += images
            return
        wait_s = _wait_s(error, attempt)
        if wait_s is None or wait_s >= _left_s(reservation):
            return
        await asyncio.sleep(wait_s)


def _wait_s(error: NotSent | RefusedUnbilled, attempt: int) -> float | None:
    """Seconds until the same candidate may be asked again; None = not at all."""
    busy = isinstance(error, NotSent) or error.busy
    if not busy or attempt == ATTEMPTS_A_CANDIDATE or (error.wait_s or 0) > LONGEST_WAIT_S:
        return None
    return error.wait_s if error.wait_s is not None else random.uniform(0, 0.5)  # noqa: S311 jitter


async def _attempt(
    services: Services,
    reservation: Reservation,
    candidate: Candidate,
    prompt: str,
    images: int,
    run: Execution,
) -> ImagegateError | None:
    """None when at least one image was delivered; then those that are missing stay missing."""
    started = _record(len(run.attempts), candidate)
    run.attempts.append(started)
    error: ImagegateError | None = None
    result, delivered, since = ProviderResult(()), 0, monotonic()
    try:
        keep = partial(_accepted, services, reservation, run, started)
        call = call_for(
            candidate, prompt, images, _left_s(reservation), services.settings.poll_window_s, keep
        )
        failpoints.reach(services.settings, "before_dispatch")
        result = await services.adapters[candidate.offering.provider].generate(call)
        failpoints.reach(services.settings, "after_answer")
        delivered = await deliver_all(services, reservation, candidate, result, run)
    except (AttemptFailed, ContentRejected, InvalidRequest) as failed:
        error = failed
    ms = round((monotonic() - since) * 1000)
    told = ended(services, run.attempts[started.seq], candidate, result, error, (delivered, images), ms)
    run.attempts[started.seq] = told
    if error is not None:
        log.info("attempt_failed", provider=told.provider, outcome=told.outcome, ms=told.ms)
    return error


def ended(
    services: Services,
    attempt: Attempt,
    candidate: Candidate,
    result: ProviderResult,
    error: ImagegateError | None,
    images: tuple[int, int],
    ms: int,
) -> Attempt:
    """The attempt as it is recorded. images: how many were delivered, and how many had been asked for."""
    delivered, asked = images
    return replace(
        attempt,
        outcome="DELIVERED" if error is None else getattr(error, "outcome", "REJECTED"),
        images=delivered,
        ms=ms,
        detail=None if error is None else error.message[:500],
        upstream_id=result.upstream_id or getattr(error, "upstream_id", None) or attempt.upstream_id,
        cost_usd=cost_usd(candidate, result, delivered),
        at_risk_usd=at_risk_usd(services, candidate, error, asked),
    )


async def _accepted(
    services: Services, reservation: Reservation, run: Execution, started: Attempt, job: UpstreamJob
) -> None:
    """Keep the job's id before the first poll, so that a crash resumes. Polling goes on while the ledger is away."""
    run.accepted = True
    known = run.attempts[started.seq] = replace(started, upstream_id=job.id, upstream_url=job.url)
    (row,) = records.attempt_rows([known])
    who = reservation.principal
    item = Accept(who.account_id, who.env, reservation.generation_id, reservation.epoch, row)
    failpoints.reach(services.settings, "after_accept")
    with suppress(SettlementPending):
        await services.journal.change(item, patience_s=ACCEPT_PATIENCE_S)
    failpoints.reach(services.settings, "after_accepted")


async def deliver_all(
    services: Services, reservation: Reservation, candidate: Candidate, result: ProviderResult, run: Execution
) -> int:
    """Make every usable image durable; how many those are. Raises BilledInvalid when none of them is usable."""
    add_usage(run.usage, result.usage or {})
    made = [deliver(services, reservation, candidate, image, run.next_idx) for image in result.images]
    ends = [await made[0]] if len(made) == 1 else await asyncio.gather(*made, return_exceptions=True)
    usable = [end for end in ends if isinstance(end, Image)]
    for error in ends:
        if isinstance(error, BaseException) and not isinstance(error, BilledInvalid):
            raise error
    run.images += usable
    failpoints.reach(services.settings, "after_store")
    if not usable:
        invalid = next((end for end in ends if isinstance(end, BilledInvalid)), None)
        raise invalid or BilledInvalid(candidate.offering.provider, "answered without an image")
    return len(usable)


def cost_usd(candidate: Candidate, result: ProviderResult, delivered: int) -> Decimal | None:
    """What the provider charges: its own word, else what the catalogue makes of its answer."""
    if result.cost_usd is not None or not delivered:
        return result.cost_usd
    fit = candidate.fit
    return delivered_cost_usd(candidate.offering, result.usage, fit.size, fit.quality, delivered)


def at_risk_usd(
    services: Services, candidate: Candidate, error: ImagegateError | None, images: int
) -> Decimal | None:
    """What the provider may have billed for an attempt without an image; None when it certainly did not."""
    if isinstance(error, RefusedUnbilled):
        provider = services.catalogue.providers[candidate.offering.provider]
        possible = error.at_risk and not provider.errors_unbilled
    else:
        possible = isinstance(error, Ambiguous | BilledInvalid)
    if not possible:
        return None
    cost = image_cost_usd(candidate.offering, candidate.fit.size, candidate.fit.quality)
    return None if cost is None else cost * images


def call_for(
    candidate: Candidate,
    prompt: str,
    images: int,
    left_s: float,
    poll_s: float = 0.0,
    accepted: Callable[[UpstreamJob], Awaitable[None]] = unkept,
) -> ProviderCall:
    fit, credential = candidate.fit, candidate.credential
    return ProviderCall(
        upstream_model=candidate.offering.upstream_model,
        prompt=prompt,
        n=images,
        size=fit.size,
        base_url=credential.base_url,
        deadline_s=max(left_s, 0.001),
        api_key=credential.api_key,
        trusted_hosts=credential.trusted_hosts,
        quality=fit.quality,
        format=fit.format,
        fields=fit.fields,
        aspect=fit.aspect,
        tier=fit.tier,
        poll_s=poll_s,
        accepted=accepted,
    )


def _record(seq: int, candidate: Candidate) -> Attempt:
    offering = candidate.offering
    return Attempt(seq, offering.provider, offering.upstream_model, "IN_FLIGHT", 0, datetime.now(UTC), 0)
