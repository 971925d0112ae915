"""`GET /metrics`: what Prometheus scrapes. Names no account, no key and no model."""

import asyncio
from time import monotonic

import structlog
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from imagegate.ledger.gauges import Gauges, read_gauges
from imagegate.services import Services
from imagegate.telemetry import Reading, Telemetry
from imagegate.web.dependencies import services_of

log = structlog.get_logger()

KEPT_S = 5.0
PATIENCE_S = 2.0
PLAIN_ROUTES = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")
OTHER = "other"


class Metrics:
    """The route's handler. The database is asked at most every few seconds, however many scrape."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._alone = asyncio.Lock()
        self._seen: Gauges | None = None
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


async def look(services: Services) -> Gauges | None:
    """The ledger's gauges; None when the database does not give them in time."""
    try:
        async with asyncio.timeout(PATIENCE_S), services.engine.connect() as connection:
            await connection.execute(text(f"SET LOCAL statement_timeout = '{PATIENCE_S:.0f}s'"))
            return await read_gauges(connection)
    except Exception as error:
        log.warning("metrics_without_database", error=type(error).__name__)
        return None


def read(services: Services, seen: Gauges | None) -> Reading:
    return Reading(
        in_flight=len(services.status.running),
        journal_waiting=len(services.journal),
        limiter_fallbacks=getattr(services.limiter, "fell_back", None),
        database_up=seen is not None,
        ledger_imbalances=seen.imbalances if seen else None,
        open_holds=seen.open_holds if seen else None,
        oldest_open_hold_s=seen.oldest_open_hold_s if seen else None,
    )


def route_of(scope: Scope) -> str:
    """The template of the route that answered: of endlessly many paths, one of a few."""
    template = scope.get("imagegate.route") or getattr(scope.get("route"), "path", None)
    if isinstance(template, str):
        return template
    path: str = scope["path"]
    if path.startswith("/media/"):
        return "/media/{path}"
    return path if path in PLAIN_ROUTES else OTHER
