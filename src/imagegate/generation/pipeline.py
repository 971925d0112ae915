"""The line: recall, plan, admit, open ══ the cut ══ execute, deliver, settle.

Above the cut nothing is spent. From `open` on everything runs in a task that belongs to the process: a caller
that leaves changes nothing once a provider was asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import structlog
from pydantic_core import from_json

from imagegate import failpoints
from imagegate.domain import Asked, Generation, GenerationRequest, Plan, Principal, Reservation
from imagegate.errors import CallerError, GenerationPending, ImagegateError, Interrupted
from imagegate.generation import admission, auto, inputs, planning, previews, quotes, recall, records, summary
from imagegate.generation.admission import Admission
from imagegate.generation.execution import execute
from imagegate.generation.listening import Listening
from imagegate.generation.progress import Execution
from imagegate.generation.settling import PATIENCE_S, capture, void
from imagegate.ids import new_id, public_id
from imagegate.journal.items import Abandon, Doubt, Existing, Fenced, Open, Reopened
from imagegate.services import Services

log = structlog.get_logger()

RUNNING = ("queued", "running", "in_doubt")


@dataclass(slots=True)
class Work:
    """One request on its way down the line. `said`: the request as it is recorded.

    opened_at: the quote, as recorded, of a generation that was lost and runs again.
    job: what is recorded of an async job beside the request. postpone: whether a failure is put off to a later turn.
    """

    principal: Principal
    request: GenerationRequest
    asked: Asked
    listener: Listening
    said: Mapping[str, Any]
    fingerprint: bytes
    plan: Plan
    admission: Admission
    deadline: float
    generation_id: UUID
    run: Execution = field(default_factory=Execution)
    reservation: Reservation | None = None
    opened_at: Mapping[str, Any] | None = None
    job: Mapping[str, Any] | None = None
    postpone: Callable[[], Awaitable[bool]] | None = None


async def generate(
    services: Services, principal: Principal, request: GenerationRequest, asked: Asked, listener: Listening
) -> Generation:
    """Make the images and pay for those that were made; a request that is known already is told again.

    Raises what `errors` draws.
    """
    request = await inputs.summed(services.pool, request)
    said = records.request_json(request)
    fingerprint = recall.fingerprint_of(principal, asked, said)
    known = await services.spans.over("recall", recall.find(services, principal, asked, fingerprint))
    failpoints.reach(services.settings, "after_recall")
    if known is None:
        plan = services.spans.plain("plan", estimate, services, principal, request)
        entered = await services.spans.over("admit", admission.enter(services, principal, request, plan))
        listener.admitted(entered.taken)
        if entered.request.images:
            plan = await measured(services, principal, entered)
        failpoints.reach(services.settings, "after_admission")
        deadline = asyncio.get_running_loop().time() + services.settings.deadline_s
        places = (said, fingerprint, plan, entered, deadline, new_id())
        work = Work(principal, entered.request, asked, listener, *places)
        made = await _listen(services, work, services.supervisor.start(_run(services, work)))
        if isinstance(made, Generation):
            return made
        known = made
    recall.check_same(known.fingerprint, fingerprint)
    mark_when_gone(services, principal, asked, listener, known.generation_id)
    if known.state in RUNNING:
        listener.opened(known.generation_id)
    return await recall.retell(services, principal, asked, known)


async def measured(services: Services, principal: Principal, entered: Admission) -> Plan:
    """The plan anew, now that the pictures are measured. What was taken goes back when there is none."""
    try:
        return estimate(services, principal, entered.request)
    except BaseException:
        await admission.leave(services, entered, images_back=True)
        raise


def estimate(services: Services, principal: Principal, request: GenerationRequest) -> Plan:
    """A plan that stops there: nothing held, nobody asked."""
    if request.partial_images:
        request = previews.allowed(services, principal, request)
    if (policy := auto.policy_among_models(services, principal, request)) is not None:
        return auto.plan_by(services, principal, request, policy)
    own = (
        request.own_key is not None and principal.env == "live"
    )  # a test key has the sandbox, which takes none
    return planning.plan(
        request,
        principal.env,
        catalogue=services.catalogue,
        prices=services.prices,
        credentials=services.credentials.places if own else services.credentials.current,
        default_model=services.settings.default_model,
        own_key_fee_tokens=services.settings.own_key_fee_tokens,
    )


def mark_when_gone(
    services: Services, principal: Principal, asked: Asked, listener: Listening, generation_id: UUID
) -> None:
    """A caller without a key that leaves before its answer: the next equal request adopts what it leaves."""
    if asked.idempotency_key is not None:
        return
    item = Abandon(principal.account_id, principal.env, generation_id)

    def mark() -> None:
        services.supervisor.start(services.journal.change(item, patience_s=PATIENCE_S))

    listener.when_gone(mark)


async def _listen(
    services: Services, work: Work, task: "asyncio.Task[Generation | Existing]"
) -> Generation | Existing:
    """Wait for the task, but not for ever where a provider still works after the deadline."""
    try:
        if any(hasattr(services.adapters[c.offering.provider], "resume") for c in work.plan.candidates):
            left_s = work.deadline - asyncio.get_running_loop().time()
            await asyncio.wait({task}, timeout=max(left_s, 0.0))
            if not task.done() and work.run.accepted:
                await _doubt(services, work, task)
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled() and services.supervisor.abandoning:
            raise Interrupted from None
        raise


async def _doubt(services: Services, work: Work, task: "asyncio.Task[Any]") -> None:
    """Raises GenerationPending, unless the generation has just ended."""
    reservation = work.reservation
    if reservation is None:
        return
    who = work.principal
    item = Doubt(who.account_id, who.env, reservation.generation_id, reservation.epoch)
    outcome = await services.journal.change(item, patience_s=PATIENCE_S)
    if task.done() or isinstance(outcome, Fenced):
        return
    name = public_id("gen", reservation.generation_id)
    raise GenerationPending(
        f"A provider still works on {name}. Ask again shortly, or fetch it: GET /v1/images/generations/{name}"
    )


async def _run(services: Services, work: Work) -> Generation | Existing:
    services.status.running.add(work.generation_id)  # before it is open: the sweeper looks at every moment
    try:
        if not work.admission.taken.wants:
            try:
                return await _opened(services, work)
            finally:
                admission.free(services, work.admission)
        async with admission.inside(services, work.admission):
            return await _opened(services, work)
    finally:
        services.status.running.discard(work.generation_id)


async def _opened(services: Services, work: Work) -> Generation | Existing:
    opened = await reserve(services, work)
    if isinstance(opened, Existing):
        return opened
    work.reservation = opened
    return await owned(services, work, opened)


async def owned(services: Services, work: Work, reservation: Reservation) -> Generation:
    """While it runs, this process is known to work on it."""
    services.status.running.add(reservation.generation_id)
    try:
        failpoints.reach(services.settings, "after_hold")
        if await work.listener.is_gone():
            raise await _cancel(services, reservation)
        if work.opened_at is not None:
            await _pin(services, work, reservation, work.opened_at)
        mark_when_gone(services, work.principal, work.asked, work.listener, reservation.generation_id)
        work.listener.opened(reservation.generation_id)
        made = await fulfil(services, work, reservation)
    except Exception as error:
        summary.failed(services, work, reservation, error)
        raise
    else:
        summary.completed(services, work, made)
        return made
    finally:
        services.status.running.discard(reservation.generation_id)
        who = reservation.principal
        services.status.watch.end((who.account_id, who.env, reservation.generation_id))


async def _cancel(services: Services, reservation: Reservation) -> ImagegateError:
    """Nothing was sent, so it may run again under its key: a connection that broke is no wish to have no image."""
    error = CallerError("The caller left before a provider was asked.")
    error.status, error.code = 499, "cancelled"
    await void(services, reservation, "lost", error, Execution())
    return error


async def reserve(services: Services, work: Work) -> Reservation | Existing:
    """Take the hold, in one commit, or find the generation that this request means.

    Raises InsufficientFunds, BudgetExceeded, Unauthenticated, BillingUnavailable.
    """
    who, asked = work.principal, work.asked
    said = {**work.said, **records.arrived_json(asked)}
    row = records.open_row(services, who, said, work.plan, work.admission.verdict)
    if work.job is not None:  # nobody works on it yet, and it may wait for longer than it may take
        row |= {"worker_id": None, "ttl_s": services.settings.job_expires_s}
    wanted = Open(
        who.account_id,
        who.env,
        work.generation_id,
        who.key_id,
        work.plan.quote.hold_tokens,
        idempotency_key=asked.idempotency_key,
        fingerprint=work.fingerprint,
        retry=asked.retry,
        team=who.team,
        app=who.paying_app,
        row=row,
        job=work.job,
    )
    failpoints.reach(services.settings, "before_open")
    outcome = await services.spans.over("open", services.journal.open(wanted))
    if isinstance(outcome, Existing):
        return outcome
    if work.admission.verdict is not None:
        work.run.verdicts.append(work.admission.verdict)
        work.run.verdicts_kept = 0 if isinstance(outcome, Reopened) else 1
    generation_id, epoch, hold_tokens = work.generation_id, 1, work.plan.quote.hold_tokens
    if isinstance(outcome, Reopened):
        generation_id, epoch, hold_tokens = outcome.generation_id, outcome.epoch, outcome.hold_tokens
        work.opened_at = from_json(outcome.quote)
    return Reservation(generation_id, epoch, who, hold_tokens, work.deadline, work.said)


async def _pin(
    services: Services, work: Work, reservation: Reservation, opened_at: Mapping[str, Any]
) -> None:
    """Go on at the price, and with the model, that the generation was opened with; lost again if nobody sells it."""
    quote = quotes.quote_from(work.plan.model.id, opened_at)
    try:
        if quote.model != work.plan.model.id:
            work.plan = estimate(services, work.principal, replace(work.request, model=quote.model))
    except ImagegateError as error:
        await void(services, reservation, "lost", error, work.run)
        raise
    work.plan = replace(work.plan, quote=quote)


async def fulfil(services: Services, work: Work, reservation: Reservation) -> Generation:
    """Ask, deliver and settle. A cancelled task writes nothing; every other failure voids the hold."""
    run = work.run
    run.preview = work.listener.preview
    try:
        await execute(services, reservation, work.plan, work.request, run)
        if not run.images:
            raise run.failure(public_id("gen", reservation.generation_id))
    except Exception as raised:
        error = _first(raised)
        if not isinstance(error, ImagegateError):
            log.exception("line_bug", generation=str(reservation.generation_id))
        run.postponed = work.postpone is not None and await work.postpone()
        if not run.postponed:
            await void(services, reservation, run.outcome if run.errors else "final", error, run)
        raise error from None
    return await capture(services, reservation, work.plan, run)


def _first(error: Exception) -> Exception:
    """The first error of a fan-out's group."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
