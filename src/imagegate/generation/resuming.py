"""Goes on with work that a provider has accepted under an id of its own, after the worker that sent it is gone.

It is asked about with the key it was sent with while that is there, else with another; it is never sent again.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import structlog

from imagegate.catalogue.catalogue import Catalogue, Match
from imagegate.catalogue.upstream_cost import image_cost_usd
from imagegate.domain import (
    Attempt,
    Candidate,
    Credential,
    GenerationRequest,
    Image,
    Plan,
    Polled,
    Principal,
    ProviderResult,
    Reservation,
    UpstreamJob,
)
from imagegate.errors import (
    AttemptFailed,
    ContentRejected,
    ImagegateError,
    InvalidRequest,
    ModerationUnavailable,
    UnknownModel,
)
from imagegate.generation import planning, quotes, records, summary
from imagegate.generation.attempting import call_for, deliver_all, ended
from imagegate.generation.progress import Execution
from imagegate.generation.settling import PATIENCE_S, capture, discard, void
from imagegate.ids import public_id
from imagegate.journal.items import Done, Take
from imagegate.services import Services

log = structlog.get_logger()


async def take(services: Services, row: Any, accepted: Sequence[Attempt], found: Sequence[Image]) -> bool:
    """Make the generation this worker's, one epoch later, and go on with it in a task. False: it cannot be."""
    plan = plan_of(services, row)
    jobs = [(attempt, candidate_of(services, plan, attempt)) for attempt in accepted] if plan else []
    known = [(attempt, candidate) for attempt, candidate in jobs if candidate is not None]
    if plan is None or not known:
        return False
    item = Take(row.account_id, row.env, row.id, row.epoch, services.journal.worker_id, abandoned=True)
    services.status.running.add(row.id)
    outcome = await services.journal.change(item, patience_s=PATIENCE_S)
    if not isinstance(outcome, Done):
        services.status.running.discard(row.id)
        return False
    log.warning("generation_resumed", generation=public_id("gen", row.id), jobs=len(known))
    services.supervisor.start(go_on(services, row, plan, known, found))
    return True


def plan_of(services: Services, row: Any) -> Plan | None:
    """The plan as it would be made now, at the price that was pinned; None when the model is not served any more.

    None also for a caller's own provider key, which is gone with the process that was given it.
    Of the model that the rules led to when it was opened, though it may have been disabled or redirected since.
    """
    if row.request.get("by_own_key"):
        return None
    request = records.request_from(row.request)
    try:
        return pinned_plan(
            services, row, request, services.credentials.configured
        )  # what was accepted is finished
    except ImagegateError:
        return None


def pinned_plan(
    services: Services, row: Any, request: GenerationRequest, credentials: Mapping[str, Credential]
) -> Plan:
    """The plan for a recorded generation at its own price. Raises UnknownModel and what planning raises."""
    catalogue = services.catalogue
    if row.model not in catalogue.models:
        raise UnknownModel(f"The model {row.model} is not served any more. Nothing was charged.")
    plan = planning.plan_for(
        Match(catalogue.models[row.model], forced_provider(catalogue, request.model)),
        request,
        row.env,
        catalogue=catalogue,
        prices=services.prices,
        credentials=credentials,
    )
    return replace(plan, quote=quotes.quote_from(row.model, row.quote))


def forced_provider(catalogue: Catalogue, name: str | None) -> str | None:
    try:
        return catalogue.find(name).forced_provider if name else None
    except UnknownModel:
        return None


def candidate_of(services: Services, plan: Plan | None, attempt: Attempt) -> Candidate | None:
    """Who accepted the work, if it can still be asked with our credential."""
    for candidate in plan.candidates if plan else ():
        offering = candidate.offering
        same = (offering.provider, offering.upstream_model) == (attempt.provider, attempt.upstream_model)
        if same and isinstance(services.adapters[offering.provider], Polled):
            return candidate
    return None


async def go_on(
    services: Services,
    row: Any,
    plan: Plan,
    jobs: Sequence[tuple[Attempt, Candidate]],
    found: Sequence[Image],
) -> None:
    """Ask, deliver and settle, in the new epoch."""
    policy = row.moderation["policy"] if row.moderation else "off"  # as it was opened
    owner = (row.account_id, row.env, row.key_id)
    principal = Principal(*owner, moderation=policy, keep_images_h=row.keep_images_h)
    deadline = asyncio.get_running_loop().time() + services.settings.poll_window_s
    epoch = row.epoch + 1
    reservation = Reservation(row.id, epoch, principal, row.hold_tokens, deadline, row.request)
    run = Execution(accepted=True)
    try:
        await asyncio.gather(*(resume(services, reservation, plan, job, run) for job in jobs))
        stored = [*found, *run.images]
        run.images = joined(found, run.images, plan.quote.n)
        if run.images:
            made = await capture(services, reservation, plan, run)
            summary.swept(services, row, "recovered", len(made.images), made.charged_tokens)
            await discard(services, reservation, stored)
            return
        error = run.failure(public_id("gen", row.id))
        await void(services, reservation, "final", error, run)
        summary.swept(services, row, summary.outcome_of(error), 0)
    except Exception:
        log.exception("resume_bug", generation=public_id("gen", row.id))  # the next sweep finds it again
        raise
    finally:
        services.status.running.discard(row.id)
        services.status.watch.end((row.account_id, row.env, row.id))


def joined(found: Sequence[Image], more: Sequence[Image], most: int) -> list[Image]:
    """At most `most` images: those found first. A job that is asked about again gives what it gave before again."""
    again = Counter(image.sha256 for image in found)
    fresh = []
    for image in more:
        if again[image.sha256]:
            again[image.sha256] -= 1
        else:
            fresh.append(image)
    return [*found, *fresh][:most]


async def resume(
    services: Services,
    reservation: Reservation,
    plan: Plan,
    job: tuple[Attempt, Candidate],
    run: Execution,
) -> None:
    """One accepted job to its end. What goes wrong is in `run.errors`."""
    attempt, candidate = job
    place = len(run.attempts)
    run.attempts.append(attempt)  # as its own epoch recorded it: it is still the same call
    upstream = UpstreamJob(attempt.upstream_id or "", attempt.upstream_url)
    left_s = reservation.deadline - asyncio.get_running_loop().time()
    prompt, poll_s = str(reservation.said.get("prompt", "")), services.settings.poll_window_s
    key = services.credentials.pick(attempt.provider, attempt.credential_id)
    call = call_for(candidate, key, prompt, plan.quote.n, left_s, poll_s)
    adapter: Any = services.adapters[candidate.offering.provider]
    result, delivered, failed = ProviderResult(()), 0, None
    try:
        result = await adapter.resume(call, upstream)
        delivered = await deliver_all(services, reservation, candidate, result, run)
        run.served = candidate
    except (AttemptFailed, ContentRejected, InvalidRequest, ModerationUnavailable) as error:
        run.errors.append(failed := error)
    run.attempts[place] = ended(
        services, attempt, candidate, result, failed, (delivered, plan.quote.n), attempt.ms
    )
    services.status.counts.delivered(run.attempts[place])


def worst_cost(services: Services, row: Any) -> Decimal | None:
    """USD of the whole request at the dearest provider that could have been asked; None where no cost is known."""
    plan = plan_of(services, row)
    if plan is None:
        return None
    quote = plan.quote
    costs = [image_cost_usd(c.offering, quote.size, quote.quality) for c in plan.candidates]
    known = [cost for cost in costs if cost is not None]
    return max(known) * quote.n if known else None
