"""One call to one provider: sent, classified, its images made durable, its outcome recorded and told to health."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import structlog

from imagegate import failpoints
from imagegate.domain import (
    Attempt,
    Candidate,
    GenerationRequest,
    Image,
    ProviderCall,
    ProviderResult,
    Reservation,
    UpstreamJob,
    unkept,
)
from imagegate.errors import (
    AttemptFailed,
    BilledInvalid,
    ContentRejected,
    ImagegateError,
    InvalidRequest,
    ModerationUnavailable,
    OutputBlocked,
    ProviderKeyRejected,
    RefusedUnbilled,
    SettlementPending,
)
from imagegate.generation import records
from imagegate.generation.choosing import report
from imagegate.generation.costing import at_risk_usd, cost_usd, given
from imagegate.generation.delivery import deliver
from imagegate.generation.inputs import Forms
from imagegate.generation.previews import showing
from imagegate.generation.progress import Execution, add_usage
from imagegate.identity.credentials import NO_KEY, ProviderKey
from imagegate.journal.items import Accept
from imagegate.routing.breaker import Call
from imagegate.routing.health import Record
from imagegate.services import Services

log = structlog.get_logger()

OWN = "own"
"""The id of a key that the caller brought."""
ACCEPT_PATIENCE_S = 5.0
UNUSABLE = (OutputBlocked, ModerationUnavailable, BilledInvalid)
"""What becomes of one image without ending the others of its call; of several, the first here is told."""


async def attempt(
    services: Services,
    reservation: Reservation,
    candidate: Candidate,
    health: Record,
    forms: Forms,
    images: int,
    run: Execution,
    *,
    again: bool = False,
) -> ImagegateError | None:
    """None when at least one image was delivered; then those that are missing stay missing.

    health: the offering's. forms: the request, with its pictures. again: of the same images, a second time.
    """
    key = key_for(services, health.provider, forms.request)
    run.attempts.append(started := record_of(len(run.attempts), candidate, key))
    error: ImagegateError | None = None
    sent = services.health.send(health, again=again)
    result, delivered, since = ProviderResult(()), 0, monotonic()
    try:
        call = await _call(services, reservation, candidate, key, forms, images, run, started)
        failpoints.reach(services.settings, "before_dispatch")
        with services.outbound.arriving.call(reservation.deadline):
            result = await services.adapters[health.provider].generate(call)
            failpoints.reach(services.settings, "after_answer")
            delivering = deliver_all(services, reservation, candidate, result, run)
            delivered = await services.spans.over("deliver", delivering)
    except (AttemptFailed, ContentRejected, InvalidRequest, ModerationUnavailable) as failed:
        error = as_told(failed, key)
    except BaseException:
        services.health.forget_call(health, sent)
        raise
    _report(services, key, health, sent, error)
    ms, known = round((monotonic() - since) * 1000), run.attempts[started.seq]
    told = ended(services, known, candidate, result, error, (delivered, images), ms)
    run.attempts[started.seq] = told
    _tell(services, told)
    return error


def _tell(services: Services, told: Attempt) -> None:
    services.status.counts.attempted(told)
    services.spans.note(told.outcome, told.images)
    if told.outcome != "DELIVERED":
        log.info("attempt_failed", provider=told.provider, outcome=told.outcome, ms=told.ms)


async def _call(
    services: Services,
    reservation: Reservation,
    candidate: Candidate,
    key: ProviderKey,
    forms: Forms,
    images: int,
    run: Execution,
    started: Attempt,
) -> ProviderCall:
    poll_s = services.settings.poll_window_s
    keep = partial(_accepted, services, reservation, run, started)
    call = call_for(candidate, key, forms.request.prompt, images, left_s(reservation), poll_s, keep)
    if call.previews:
        call = showing(call, run, started.seq)
    return await with_pictures(call, candidate, forms) if forms.request.images else call


def _report(
    services: Services, key: ProviderKey, health: Record, sent: Call, error: ImagegateError | None
) -> None:
    """Tell the pool of keys and the offering's health how it ended."""
    if key.id == OWN:
        services.health.forget_call(health, sent)  # a stranger's account says nothing about ours
        return
    services.credentials.report(health.provider, key.id, error)
    if services.credentials.helps(health.provider, error):
        services.health.forget_call(health, sent)  # it was this key that the provider had enough of
    else:
        report(services.health, health, sent, error)


def key_for(services: Services, provider: str, request: GenerationRequest) -> ProviderKey:
    """The caller's own key, where one was brought; else the next of ours."""
    return ProviderKey(OWN, request.own_key) if request.own_key else services.credentials.pick(provider)


def as_told(error: ImagegateError, key: ProviderKey) -> ImagegateError:
    """What a provider says of a key that is the caller's is the caller's to know."""
    if key.id == OWN and isinstance(error, RefusedUnbilled) and error.bad_key:
        return ProviderKeyRejected(error.provider)
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
    ours = attempt.credential_id != OWN  # what a stranger's account pays is no cost of ours
    return Attempt(  # written out: `replace` takes twice as long, and every request ends here
        attempt.seq,
        attempt.provider,
        attempt.upstream_model,
        outcome="DELIVERED" if error is None else getattr(error, "outcome", "REJECTED"),
        images=delivered,
        started_at=attempt.started_at,
        ms=ms,
        detail=None if error is None else error.message[:500],
        upstream_id=result.upstream_id or getattr(error, "upstream_id", None) or attempt.upstream_id,
        cost_usd=cost_usd(candidate, result, given(result, error, delivered)) if ours else None,
        at_risk_usd=at_risk_usd(services, candidate, error, asked) if ours else None,
        epoch=attempt.epoch,
        upstream_url=attempt.upstream_url,
        slot=attempt.slot,
        credential_id=attempt.credential_id,
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
    """Make every usable image durable; how many those are.

    Raises BilledInvalid, OutputBlocked or ModerationUnavailable when none of them is usable.
    """
    add_usage(run.usage, result.usage or {})
    made = [deliver(services, reservation, candidate, image, run) for image in result.images]
    ends = [await made[0]] if len(made) == 1 else await asyncio.gather(*made, return_exceptions=True)
    usable = [end for end in ends if isinstance(end, Image)]
    for error in ends:
        if isinstance(error, BaseException) and not isinstance(error, UNUSABLE):
            raise error
    run.images += usable
    failpoints.reach(services.settings, "after_store")
    if not usable:
        unfit = sorted(
            (end for end in ends if isinstance(end, UNUSABLE)), key=lambda end: UNUSABLE.index(type(end))
        )
        raise unfit[0] if unfit else BilledInvalid(candidate.offering.provider, "answered without an image")
    run.ended += sum(1 for end in ends if isinstance(end, OutputBlocked | ModerationUnavailable))
    return len(usable)


def call_for(
    candidate: Candidate,
    key: ProviderKey,
    prompt: str,
    images: int,
    left_s: float,
    poll_s: float = 0.0,
    accepted: Callable[[UpstreamJob], Awaitable[None]] = unkept,
) -> ProviderCall:
    fit, credential = candidate.fit, candidate.credential
    return ProviderCall(
        upstream_model=fit.upstream_model or candidate.offering.upstream_model,
        prompt=prompt,
        n=images,
        size=fit.size,
        base_url=credential.base_url,
        deadline_s=max(left_s, 0.001),
        api_key=key.secret,
        trusted_hosts=credential.trusted_hosts,
        quality=fit.quality,
        format=fit.format,
        fields=fit.fields,
        aspect=fit.aspect,
        tier=fit.tier,
        poll_s=poll_s,
        accepted=accepted,
        previews=fit.previews,
    )


async def with_pictures(call: ProviderCall, candidate: Candidate, forms: Forms) -> ProviderCall:
    """The call with the caller's pictures as this offering takes them. Raises InvalidRequest."""
    formats = candidate.offering.features.get("input_formats", ())
    mask = await forms.mask(candidate.fit.mask) if candidate.fit.mask else None
    return replace(call, images=await forms.images(formats), mask=mask)


def record_of(seq: int, candidate: Candidate, key: ProviderKey = NO_KEY) -> Attempt:
    """An attempt that begins. key: the one it is made with."""
    offering, used = candidate.offering, key.id if key.secret else None
    names = (offering.provider, offering.upstream_model)
    return Attempt(seq, *names, "IN_FLIGHT", 0, datetime.now(UTC), 0, credential_id=used)


def left_s(reservation: Reservation) -> float:
    """Seconds until the deadline."""
    return reservation.deadline - asyncio.get_running_loop().time()
