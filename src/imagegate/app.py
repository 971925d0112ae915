"""create_app(settings): routers, the one ASGI layer, error handlers, lifespan. Assembly only."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from imagegate import __version__
from imagegate.admin import http as admin
from imagegate.admin.console.routes import ROUTES as CONSOLE
from imagegate.dialects import FACES, HOT, ROUTERS
from imagegate.errors import ImagegateError, MethodNotAllowed, NotFound
from imagegate.services import Services, open_services
from imagegate.settings import Settings, load_settings
from imagegate.telemetry import Telemetry
from imagegate.web import docs, error_page
from imagegate.web.media import media
from imagegate.web.metrics import Metrics
from imagegate.web.openapi import complete
from imagegate.web.outages import OUTAGES, outage
from imagegate.web.process import Handler, Shell, bug_response, error_response, healthz, readyz

ABOUT = """One OpenAI-compatible endpoint in front of every image model. The wallet is debited only for images
that exist and can be fetched."""


def create_app(settings: Settings | None = None, *, services: Services | None = None) -> Shell:
    """An ASGI application. `services`: opened, and closed, by the caller; else the lifespan opens its own."""
    settings = settings or (services.settings if services else load_settings())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if services is not None:
            app.state.services = services
            yield
            return
        async with open_services(settings) as opened:
            app.state.services = opened
            yield

    app = FastAPI(
        title="imagegate",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # its page loads from elsewhere: `docs` has one that does not
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=exception_handlers(),
        telemetry=traces(services),
    )
    telemetry = Telemetry()
    app.router.routes += [  # first, since routes are tried in their order, and these are asked for most
        Route("/media/{path:path}", media, methods=["GET"], include_in_schema=False),
        Route("/healthz", healthz, methods=["GET"], include_in_schema=False),
        Route("/readyz", readyz, methods=["GET"], include_in_schema=False),
        Route("/metrics", Metrics(telemetry).answer, methods=["GET"], include_in_schema=False),
    ]
    for router in (*ROUTERS, admin.router):
        app.include_router(router)
    app.router.routes += [*error_page.ROUTES, *docs.ROUTES, *CONSOLE]
    describe(app)
    return Shell(app, hot(services), (admin.FACE, *FACES), telemetry)


def hot(services: Services | None) -> Mapping[tuple[str, str], Handler]:
    """What goes past FastAPI's routing; nothing where requests have spans, since FastAPI makes those."""
    return HOT if services is None or services.spans.provider is None else {}


UNTRACED = ("/media/", "/healthz", "/readyz", "/metrics", "/console")


def traces(services: Services | None) -> TelemetryConfig:
    """FastAPI's own spans, where tracing is on. Its metrics and logs stay off: /metrics and the log tell more."""
    provider = services.spans.provider if services else None
    return {
        "tracer_provider": provider,
        "tracing": provider is not None,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"].startswith(UNTRACED),
    }


def exception_handlers() -> dict[Any, Callable[[Request, Any], Any]]:
    async def imagegate_error(request: Request, error: ImagegateError) -> Response:
        return error_response(request, error)

    async def http_error(request: Request, error: HTTPException) -> Response:
        return error_response(request, from_http(request, error))

    async def away(request: Request, error: Exception) -> Response:
        return error_response(request, outage(error))

    async def bug(request: Request, error: Exception) -> Response:
        return bug_response(request.scope)

    outages = dict.fromkeys(OUTAGES, away)
    return {ImagegateError: imagegate_error, HTTPException: http_error, Exception: bug, **outages}


def from_http(request: Request, error: HTTPException) -> ImagegateError:
    """Starlette's own errors in our words: an unknown path, a wrong method."""
    if error.status_code == 405:
        allowed = ", ".join(allowed_methods(request))
        wrong: ImagegateError = MethodNotAllowed(
            f"{request.method} is not for this path; allowed: {allowed}."
        )
        wrong.allow = allowed
        return wrong
    if error.status_code == 404:
        text = (
            "There is nothing at this path. OpenAI's base URL ends in /v1 here too; /docs lists the routes."
        )
        return NotFound(text)
    known = ImagegateError(str(error.detail))
    known.status = error.status_code
    return known


def allowed_methods(request: Request) -> list[str]:
    """What this path takes, whichever of its routes takes it."""
    routes: list[BaseRoute] = request.app.router.routes
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    scopes = [{**request.scope, "method": method} for method in methods]
    return [s["method"] for s in scopes if any(route.matches(s)[0] is Match.FULL for route in routes)]


def describe(app: FastAPI) -> None:
    """What OpenAPI cannot see: the bearer keys that the routes' own descriptions name, parameters of paths, errors."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        components = schema.setdefault("components", {})
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "igk_live_…"},
            "operator": admin.SECURITY_SCHEME,
        }
        complete(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
