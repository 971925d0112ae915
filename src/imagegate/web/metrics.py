"""`GET /metrics`: what Prometheus scrapes. Names no account and no key; offerings are those of the catalogue."""

import asyncio
from time import monotonic

import structlog
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from imagegate.ledger.gauges import Gauges, read_gauges
from imagegate.ledger.proof import Proof, last_proof
from imagegate.routing.health import OfferingHealth
from imagegate.services import Services
from imagegate.telemetry import OfferingReading, Reading, Telemetry
from imagegate.web.dependencies import services_of
from imagegate.webhooks.gauges import Waiting, read_waiting

log = structlog.get_logger()

KEPT_S = 5.0
PATIENCE_S = 2.0
PLAIN_ROUTES = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")
ADMIN = "/admin/v1"
OTHER = "other"


class Metrics:
    """The route's handler. The database is asked at most every few seconds, however many scrape."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._alone = asyncio.Lock()
        self._seen: Seen | None = None
        self._until = 0.0

    async def answer(self, request: Request) -> Response:
        """Always 200: without a database the ledger's gauges are missing and imagegate_database_up is 0."""
        services = services_of(request)
        async with self._alone:
            if monotonic() >= self._until:
                self._seen = await look(services)
                self._until = monotonic() + KEPT_S
        reading = read(services, self._seen)
        return Response(self._telemetry.render(reading), media_type=CONTENT_TYPE_PLAIN_0_0_4)


Seen = tuple[Gauges, Proof | None, Waiting]


async def look(services: Services) -> Seen | None:
    """The ledger's gauges, its last proof and the events that wait; None when the database is too slow."""
    try:
        async with asyncio.timeout(PATIENCE_S), services.engine.connect() as connection:
            await connection.execute(text(f"SET LOCAL statement_timeout = '{PATIENCE_S:.0f}s'"))
            return await read_gauges(connection), await last_proof(connection), await read_waiting(connection)
    except Exception as error:
        log.warning("metrics_without_database", error=type(error).__name__)
        return None


def read(services: Services, seen: Seen | None) -> Reading:
    gauges, proof, hooks = seen or (None, None, None)
    return Reading(
        in_flight=len(services.status.running),
        requests_waiting=services.load.turns.waiting,
        journal_waiting=len(services.journal),
        limiter_fallbacks=getattr(services.limiter, "fell_back", None),
        database_up=seen is not None,
        ledger_imbalances=gauges.imbalances if gauges else None,
        open_holds=gauges.open_holds if gauges else None,
        oldest_open_hold_s=gauges.oldest_open_hold_s if gauges else None,
        jobs_waiting=gauges.jobs_waiting if gauges else None,
        oldest_job_s=gauges.oldest_job_s if gauges else None,
        webhooks_waiting=hooks.waiting if hooks else None,
        oldest_webhook_s=hooks.oldest_s if hooks else None,
        picture_processes=services.pool.processes,
        log_lines_dropped=services.status.lines.dropped if services.status.lines else None,
        counts=services.status.counts,
        held_bytes=services.load.bytes.held_bytes,
        answers_bytes=services.outbound.arriving.held.held_bytes,
        shed=services.load.shed,
        proof_violations=proof.violations if proof else None,
        proof_at_s=proof.at.timestamp() if proof else None,
        moderated=services.status.moderated,
        offerings=[offering_reading(known) for known in services.health.snapshot()],
    )


OPEN = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


def offering_reading(seen: OfferingHealth) -> OfferingReading:
    return OfferingReading(
        provider=seen.provider,
        offering=seen.offering,
        open=OPEN[seen.state],
        p50_s=seen.p50_s,
        calls=seen.calls,
        failures=seen.failures,
        retries_left=seen.retries_left,
    )


def route_of(scope: Scope) -> str:
    """The template of the route that answered: of endlessly many paths, one of a few."""
    template = scope.get("imagegate.route") or getattr(scope.get("route"), "path", None)
    if isinstance(template, str):
        admin = scope["path"].startswith(ADMIN) and not template.startswith(ADMIN)
        return ADMIN + template if admin else template
    path: str = scope["path"]
    if path.startswith("/media/"):
        return "/media/{path}"
    return path if path in PLAIN_ROUTES else OTHER
