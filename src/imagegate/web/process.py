"""Process routes, and the one ASGI layer around every route: request id, headers, and errors as JSON."""

import re
from collections.abc import Callable
from time import monotonic
from uuid import uuid4

import structlog
from sqlalchemy import text
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegate.errors import ImagegateError
from imagegate.services import Services
from imagegate.web.dependencies import services_of

log = structlog.get_logger()

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LONGEST_HEADERS = 32 * 1024

ErrorRenderer = Callable[[ImagegateError, str], tuple[int, dict[str, object]]]


def openai_error(error: ImagegateError, request_id: str) -> tuple[int, dict[str, object]]:
    """OpenAI's error object, with all four keys. Most SDKs show only the message, so the request id is in it."""
    message = f"{error.message} (request id {request_id})"
    return error.status, {
        "error": {"message": message, "type": error.type, "param": error.param, "code": error.code}
    }


def error_response(request: Request, error: ImagegateError, render: ErrorRenderer = openai_error) -> Response:
    status, body = render(error, request.scope.get("imagegate.request_id", ""))
    services: Services | None = getattr(request.app.state, "services", None)
    if status in (502, 504) and services is not None and services.settings.cdn_safe_status:
        status = 424
    response = JSONResponse(body, status)
    response.headers["x-should-retry"] = "true" if error.should_retry else "false"
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(error.retry_after_s)
    if error.allow:
        response.headers["allow"] = error.allow
    return response


class Shell:
    """Outermost ASGI layer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = monotonic()
        request_id = self._request_id(scope)
        scope["imagegate.request_id"] = request_id
        begun = False

        async def send_dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(raw=message["headers"])
                headers["x-request-id"] = request_id
                headers["openai-processing-ms"] = str(round((monotonic() - started) * 1000))
                headers["x-content-type-options"] = "nosniff"
                headers.setdefault("cache-control", "private, no-store")
                message["headers"] = headers.raw
            await send(message)

        scope["path"] = tidy(scope["path"])
        try:
            if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEADERS:
                error = ImagegateError(f"The headers are longer than {LONGEST_HEADERS} bytes.")
                error.status, error.type, error.code = 431, "invalid_request_error", "header_too_large"
                await _plain_error(error, request_id)(scope, receive, send_dressed)
            else:
                await self.app(scope, receive, send_dressed)
        except Exception:
            log.exception("unhandled", request_id=request_id, path=scope["path"])
            if begun:
                raise
            error = ImagegateError("The gateway failed; this is a bug. Nothing more was charged.")
            await _plain_error(error, request_id)(scope, receive, send_dressed)

    @staticmethod
    def _request_id(scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value.decode("latin-1")):
                return str(value.decode("latin-1"))
        return f"req_{uuid4().hex}"


def tidy(path: str) -> str:
    """Double and trailing slashes are tolerated, but in signed media paths."""
    if path.startswith("/media/") or ("//" not in path and (len(path) == 1 or not path.endswith("/"))):
        return path
    return "/" + "/".join(part for part in path.split("/") if part)


def _plain_error(error: ImagegateError, request_id: str) -> Response:
    status, body = openai_error(error, request_id)
    return JSONResponse(body, status, headers={"x-should-retry": "false"})


async def healthz(_: Request) -> Response:
    """The process answers. Says nothing of the database."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 when the database answers and this process takes requests, else 503 saying what is missing."""
    services = services_of(request)
    checks: dict[str, str] = {}
    try:
        async with services.engine.connect() as connection:
            await connection.execute(text("SELECT 1 FROM instance WHERE name = 'store_id'"))
        checks["database"] = "ok"
    except Exception as error:
        checks["database"] = type(error).__name__
    checks["process"] = "draining" if services.status.draining else "ok"
    ready = all(value == "ok" for value in checks.values())
    body = {"status": "ready" if ready else "not ready", "checks": checks}
    return JSONResponse(body, 200 if ready else 503)
