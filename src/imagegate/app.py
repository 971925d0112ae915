"""create_app(settings): routers, the one ASGI layer, error handlers, lifespan. Assembly only."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imagegate import __version__
from imagegate.dialects import HOT, ROUTERS
from imagegate.errors import ImagegateError, MethodNotAllowed, NotFound
from imagegate.services import Services, open_services
from imagegate.settings import Settings, load_settings
from imagegate.web.media import media
from imagegate.web.process import Shell, error_response, healthz, readyz

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
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=exception_handlers(),
    )
    for router in ROUTERS:
        app.include_router(router)
    app.router.routes += [
        Route("/media/{path:path}", media, methods=["GET"], include_in_schema=False),
        Route("/healthz", healthz, methods=["GET"], include_in_schema=False),
        Route("/readyz", readyz, methods=["GET"], include_in_schema=False),
    ]
    describe_security(app)
    return Shell(app, HOT)


def exception_handlers() -> dict[Any, Callable[[Request, Any], Any]]:
    async def imagegate_error(request: Request, error: ImagegateError) -> Response:
        return error_response(request, error)

    async def http_error(request: Request, error: HTTPException) -> Response:
        return error_response(request, from_http(request, error))

    return {ImagegateError: imagegate_error, HTTPException: http_error}


def from_http(request: Request, error: HTTPException) -> ImagegateError:
    """Starlette's own errors in our words: an unknown path, a wrong method."""
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        wrong: ImagegateError = MethodNotAllowed(
            f"{request.method} is not for this path; allowed: {allowed}."
        )
        wrong.allow = allowed
        return wrong
    if error.status_code == 404:
        return NotFound("There is nothing at this path. The routes are listed at /docs.")
    known = ImagegateError(str(error.detail))
    known.status = error.status_code
    return known


def describe_security(app: FastAPI) -> None:
    """OpenAPI's word for the bearer key, used by the routes' own descriptions."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        components = schema.setdefault("components", {})
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "igk_live_…"}
        }
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
