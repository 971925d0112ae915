"""One line in the log for each generation, written where it ends, and its place in the counts.

No prompt, no key, no link: ids, names and numbers.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog

from imagegate.domain import Asked, Attempt, Generation, Principal, Reservation
from imagegate.errors import ImagegateError, SettlementPending
from imagegate.ids import public_id
from imagegate.services import Services

if TYPE_CHECKING:
    from imagegate.generation.pipeline import Work

log = structlog.get_logger()

UNCALLED = ("NOT_SENT", "IN_FLIGHT")


def completed(services: Services, work: "Work", made: Generation) -> None:
    env, charged = work.principal.env, made.charged_tokens
    services.status.counts.ended("completed", env, charged)
    if log.is_enabled_for(logging.INFO):
        served = work.run.served.offering.provider if work.run.served else None
        results = {"status": 200, "images": len(made.images), "charged_tokens": charged}
        log.info("generation", outcome="completed", provider=served, **results, **of_work(work, made.id))


def failed(services: Services, work: "Work", reservation: Reservation, error: Exception) -> None:
    """It ended in an error, or is to go on later."""
    known = error if isinstance(error, ImagegateError) else ImagegateError("a bug")
    outcome = "postponed" if work.run.postponed else outcome_of(known)
    services.status.counts.ended(outcome, work.principal.env)
    if log.is_enabled_for(logging.INFO):
        last = work.run.attempts[-1].provider if work.run.attempts else None
        results = {"status": known.status, "code": known.code, "images": 0, "charged_tokens": 0}
        log.info(
            "generation",
            outcome=outcome,
            provider=last,
            **results,
            **of_work(work, reservation.generation_id),
        )


def outcome_of(error: ImagegateError) -> str:
    if isinstance(error, SettlementPending):
        return "unsettled"
    if error.code == "cancelled":
        return "cancelled"
    return "refused" if error.status < 500 else "failed"


def replayed(
    services: Services, who: Principal, asked: Asked, known: Generation, error: ImagegateError | None = None
) -> None:
    """What was made before was told again, or the error that it ended in."""
    services.status.counts.ended("replayed", who.env)
    if not log.is_enabled_for(logging.INFO):
        return
    log.info(
        "generation",
        outcome="replayed",
        model=known.model,
        provider=next((a.provider for a in reversed(known.attempts) if a.images), None),
        status=error.status if error else 200,
        code=error.code if error else None,
        images=len(known.images),
        charged_tokens=0,  # it was paid for when it was made
        attempts=0,
        ms=since_ms(asked),
        upstream_ms=0,
        replayed=True,
        **of_asked(asked),
        **of_owner(who, known.id),
    )


def cancelled(services: Services, who: Principal, known: Generation) -> None:
    """A job that nobody had begun."""
    services.status.counts.ended("cancelled", who.env)
    if log.is_enabled_for(logging.INFO):
        waited = datetime.now(UTC) - known.created_at
        told = {"model": known.model, "ms": round(waited / timedelta(milliseconds=1)), "job": True}
        _over("cancelled", who, known.id, known.request.get("arrived"), told)


def swept(services: Services, row: Any, outcome: str, images: int, charged_tokens: int = 0) -> None:
    """What a dead process left, or a job whose turn did not come, has ended. row: of the generation."""
    services.status.counts.ended(outcome, row.env, charged_tokens)
    if log.is_enabled_for(logging.INFO):
        owner = Principal(row.account_id, row.env, row.key_id)
        told = {"model": row.model, "images": images, "charged_tokens": charged_tokens}
        told |= {"ms": round(row.age_s * 1000), "job": row.job is not None}
        _over(outcome, owner, row.id, row.request.get("arrived"), told)


def _over(outcome: str, who: Principal, generation_id: UUID, arrived: Any, told: Mapping[str, Any]) -> None:
    """The line of a generation that no request waits for."""
    arrived = arrived or {}
    ids = {name: arrived.get(name) for name in ("request_id", "trace_id")}
    log.info("generation", outcome=outcome, **told, **ids, **of_owner(who, generation_id))


def of_work(work: "Work", generation_id: UUID) -> dict[str, Any]:
    """What is known of it however it ended. An async job says how its request arrived."""
    ms = since_ms(work.asked)
    later = work.postpone is not None
    return {
        "model": work.plan.model.id,
        "attempts": len(work.run.attempts),
        "ms": ms,
        "upstream_ms": upstream_ms(work.run.attempts, ms),
        "stream": work.request.stream,
        "job": later,
        "replayed": False,
        **of_asked(work.asked, work.said.get("arrived")),
        **of_owner(work.principal, generation_id),
    }


def of_asked(asked: Asked, arrived: Mapping[str, Any] | None = None) -> dict[str, Any]:
    known = arrived or {}
    return {
        "request_id": asked.request_id or known.get("request_id"),
        "trace_id": asked.trace or known.get("trace_id"),
    }


def of_owner(who: Principal, generation_id: UUID) -> dict[str, Any]:
    return {
        "id": public_id("gen", generation_id),
        "account": public_id("acc", who.account_id),
        "env": who.env,
        "key": public_id("key", who.key_id),
        "app": who.told_app,
    }


def since_ms(asked: Asked) -> int:
    return round((monotonic() - asked.since_s) * 1000)


def upstream_ms(attempts: Sequence[Attempt], total_ms: int) -> int:
    """From the first call of the last `total_ms` until the last of them was over; calls may be made at once."""
    sent = [attempt for attempt in attempts if attempt.outcome not in UNCALLED]
    if len(sent) < 2:
        return sent[0].ms if sent else 0
    ends = [attempt.started_at + timedelta(milliseconds=attempt.ms) for attempt in sent]
    begun = max(min(attempt.started_at for attempt in sent), max(ends) - timedelta(milliseconds=total_ms))
    return round((max(ends) - begun) / timedelta(milliseconds=1))
