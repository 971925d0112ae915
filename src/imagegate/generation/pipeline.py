"""The line: plan, admit, open ══ the cut ══ execute, deliver, settle.

Above the cut nothing is spent. From `open` on everything runs in a task that belongs to the process: a caller
that leaves changes nothing once a provider was asked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from imagegate import failpoints
from imagegate.domain import Generation, GenerationRequest, Plan, Principal, Reservation
from imagegate.errors import CallerError, Conflict, ImagegateError, Interrupted, SettlementPending
from imagegate.generation import admission, planning, records
from imagegate.generation.execution import Execution, execute
from imagegate.ids import new_id, public_id
from imagegate.journal.decisions import Existing, Open, Settle, Settled
from imagegate.services import Services

log = structlog.get_logger()

CallerGone = Callable[[], Awaitable[bool]]
SETTLE_PATIENCE_S = 10.0


async def generate(
    services: Services, principal: Principal, request: GenerationRequest, caller_gone: CallerGone
) -> Generation:
    """Make the images and pay for those that were made. Raises what `errors.py` draws."""
    plan = estimate(services, principal, request)
    admission.admit(services, request)
    failpoints.reach(services.settings, "after_admission")
    task = services.supervisor.start(_run(services, principal, request, plan, caller_gone))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled() and services.supervisor.abandoning:
            raise Interrupted from None
        raise


def estimate(services: Services, principal: Principal, request: GenerationRequest) -> Plan:
    """A plan that stops there: nothing held, nobody asked."""
    return planning.plan(
        request,
        principal.env,
        catalogue=services.catalogue,
        prices=services.prices,
        credentials=services.credentials,
        default_model=services.settings.default_model,
    )


async def _run(
    services: Services, principal: Principal, request: GenerationRequest, plan: Plan, caller_gone: CallerGone
) -> Generation:
    reservation = await reserve(services, principal, request, plan)
    services.status.running.add(reservation.generation_id)
    try:
        return await _reserved(services, reservation, request, plan, caller_gone)
    finally:
        services.status.running.discard(reservation.generation_id)


async def _reserved(
    services: Services,
    reservation: Reservation,
    request: GenerationRequest,
    plan: Plan,
    caller_gone: CallerGone,
) -> Generation:
    failpoints.reach(services.settings, "after_hold")
    if await caller_gone():
        error = CallerError("The caller left before a provider was asked.")
        error.status, error.code = 499, "cancelled"
        await _void(services, reservation, "final", error, Execution())
        raise error
    return await fulfil(services, reservation, request, plan)


async def reserve(
    services: Services, principal: Principal, request: GenerationRequest, plan: Plan
) -> Reservation:
    """Take the hold, in one commit. Raises InsufficientFunds, Unauthenticated, BillingUnavailable, Conflict."""
    generation_id, now = new_id(), datetime.now(UTC)
    said = records.request_json(request)
    deadline = asyncio.get_running_loop().time() + services.settings.deadline_s
    wanted = Open(
        principal.account_id,
        principal.env,
        generation_id,
        principal.key_id,
        plan.quote.hold_tokens,
        row=records.open_row(services, principal, said, plan),
    )
    outcome = await services.journal.open(wanted)
    if isinstance(outcome, Existing):
        raise Conflict(
            f"{public_id('gen', outcome.generation_id)} has this key.", code="idempotency_in_progress"
        )
    return Reservation(generation_id, 1, principal, plan.quote.hold_tokens, deadline, now, said)


async def fulfil(
    services: Services, reservation: Reservation, request: GenerationRequest, plan: Plan
) -> Generation:
    """Ask, deliver and settle. A cancelled task writes nothing; every other failure voids the hold."""
    run = Execution()
    try:
        await execute(services, reservation, plan, request.prompt, run)
        if not run.images:
            raise run.failure(public_id("gen", reservation.generation_id))
    except Exception as raised:
        error = _first(raised)
        if not isinstance(error, ImagegateError):
            log.exception("line_bug", generation=str(reservation.generation_id))
        await _void(services, reservation, run.outcome if run.errors else "final", error, run)
        raise error from None
    return await _capture(services, reservation, plan, run)


def _first(error: Exception) -> Exception:
    """The first error of a fan-out's group."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _capture(services: Services, reservation: Reservation, plan: Plan, run: Execution) -> Generation:
    tokens = plan.quote.tokens_for(len(run.images))
    who = reservation.principal
    wanted = Settle(
        who.account_id,
        who.env,
        reservation.generation_id,
        reservation.epoch,
        tokens=tokens,
        price_version=plan.quote.price_version,
        row=records.captured_row(plan, run),
        images=records.image_rows(run.images, services.settings.keep_images_h),
        attempts=records.attempt_rows(run.attempts),
    )
    failpoints.reach(services.settings, "before_settle")
    outcome = await services.journal.settle(wanted, patience_s=SETTLE_PATIENCE_S)
    failpoints.reach(services.settings, "after_settle")
    if not isinstance(outcome, Settled):
        raise SettlementPending(public_id("gen", reservation.generation_id))
    charged = min(tokens, reservation.hold_tokens)
    balance = outcome.available_tokens if outcome.available_tokens >= 0 else None
    return records.completed(reservation, plan, run, charged, balance)


async def _void(
    services: Services, reservation: Reservation, outcome: str, error: Exception, run: Execution
) -> None:
    """Give the hold back. Raises SettlementPending when the ledger cannot be reached: then nothing is final."""
    who = reservation.principal
    wanted = Settle(
        who.account_id,
        who.env,
        reservation.generation_id,
        reservation.epoch,
        outcome=outcome,
        row=records.voided_row(error),
        attempts=records.attempt_rows(run.attempts),
    )
    await services.journal.settle(wanted, patience_s=SETTLE_PATIENCE_S)
