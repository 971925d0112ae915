"""Process routes, and the one ASGI layer around every route: request id, headers, and errors as JSON."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

import structlog
from fastapi import FastAPI
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from imagegate.errors import ImagegateError
from imagegate.ids import new_id, public_id
from imagegate.services import Services
from imagegate.web.dependencies import services_of

log = structlog.get_logger()

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LONGEST_HEADERS = 32 * 1024

Handler = Callable[[Request], Awaitable[Response]]
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
    """The outermost ASGI layer, around the whole application.

    hot: handlers that are called at once, past FastAPI's routing; the same functions are its routes as well.
    """

    def __init__(self, api: FastAPI, hot: Mapping[tuple[str, str], Handler]) -> None:
        self.api = api
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        dressed = Dressed(send, request_id_of(scope))
        scope["imagegate.request_id"] = dressed.request_id
        scope["path"] = tidy(scope["path"])
        try:
            await self._serve(scope, receive, dressed)
        except Exception:
            log.exception("unhandled", request_id=dressed.request_id, path=scope["path"])
            if dressed.begun:
                raise
            error = ImagegateError("The gateway failed; this is a bug. Nothing more was charged.")
            await _plain_error(error, dressed.request_id)(scope, receive, dressed)

    async def _serve(self, scope: Scope, receive: Receive, dressed: "Dressed") -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEADERS:
            error = ImagegateError(f"The headers are longer than {LONGEST_HEADERS} bytes.")
            error.status, error.type, error.code = 431, "invalid_request_error", "header_too_large"
            await _plain_error(error, dressed.request_id)(scope, receive, dressed)
            return
        hot = self._hot.get((scope["method"], scope["path"]))
        if hot is None:
            await self.api(scope, receive, dressed)
            return
        scope["app"] = self.api
        request = Request(scope, receive)
        try:
            response = await hot(request)
        except ImagegateError as error:
            response = error_response(request, error)
        await response(scope, receive, dressed)


class Dressed:
    """An ASGI `send` that puts onto every answer the headers that all answers have."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._started = monotonic()
        self.request_id = request_id
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = message["headers"]
            ms = round((monotonic() - self._started) * 1000)
            headers += (
                (b"x-request-id", self.request_id.encode("latin-1")),
                (b"openai-processing-ms", b"%d" % ms),
                (b"x-content-type-options", b"nosniff"),
            )
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"private, no-store"))
        await self._send(message)


def request_id_of(scope: Scope) -> str:
    """The caller's own, where it is harmless."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(said := value.decode("latin-1")):
            return str(said)
    return public_id("req", new_id())


class Listener:
    """Watches whether the caller is still there, while the line works. Use it as a context manager.

    The body must have been read: what is received after it can only be the end of the connection.
    """

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self.gone = False

    def __enter__(self) -> "Listener":
        self._watch = asyncio.ensure_future(self._wait())
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True

    async def is_gone(self) -> bool:
        # One turn of the loop: an end that has arrived already is seen.
        await asyncio.sleep(0)
        return self.gone


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
