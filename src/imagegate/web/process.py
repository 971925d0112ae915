"""Process routes, and the one ASGI layer around every route: request id, headers, and errors as JSON."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import structlog
from fastapi import FastAPI
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from imagegate.errors import HeaderTooLarge, ImagegateError
from imagegate.errors.catalogue import link_of
from imagegate.ids import new_id, public_id
from imagegate.services import Services
from imagegate.telemetry import Telemetry
from imagegate.web.dependencies import services_of
from imagegate.web.listener import EXTRA_HEADERS, LISTENER
from imagegate.web.metrics import route_of
from imagegate.web.outages import OUTAGES, outage
from imagegate.web.ratelimit import refusal_headers

log = structlog.get_logger()

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LONGEST_HEADERS = 32 * 1024

Handler = Callable[[Request], Awaitable[Response]]
ErrorRenderer = Callable[[ImagegateError, str], tuple[int, dict[str, object]]]


@dataclass(frozen=True, slots=True)
class Face:
    """How errors look at `prefix` and, unless it stands alone, below it, whoever finds them."""

    prefix: str
    render: ErrorRenderer
    media_type: str = "application/json"
    alone: bool = False

    def covers(self, path: str) -> bool:
        return path == self.prefix or (not self.alone and path.startswith(self.prefix + "/"))


def openai_error(error: ImagegateError, request_id: str) -> tuple[int, dict[str, object]]:
    """OpenAI's error object, with all four keys. Most SDKs show only the message, so the request id is in it."""
    message = f"{error.message} (request id {request_id})"
    return error.status, {
        "error": {"message": message, "type": error.type, "param": error.param, "code": error.code}
    }


def error_response(request: Request, error: ImagegateError, render: ErrorRenderer = openai_error) -> Response:
    face: Face = request.scope.get("imagegate.face") or Face("", render)
    status, body = face.render(error, request.scope.get("imagegate.request_id", ""))
    services: Services | None = getattr(request.app.state, "services", None)
    if status in (502, 504) and services is not None and services.settings.cdn_safe_status:
        status = 424
    response = JSONResponse(body, status, media_type=face.media_type)
    response.headers["x-should-retry"] = "true" if error.should_retry else "false"
    response.headers["link"] = link_of(error.code)
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(error.retry_after_s)
    if error.allow:
        response.headers["allow"] = error.allow
    response.headers.update(refusal_headers(error))
    return response


class Shell:
    """The outermost ASGI layer, around the whole application.

    hot: handlers that are called at once, past FastAPI's routing; the same functions are its routes as well.
    faces: whose errors do not look like OpenAI's.
    """

    def __init__(
        self,
        api: FastAPI,
        hot: Mapping[tuple[str, str], Handler],
        faces: Sequence[Face] = (),
        telemetry: Telemetry | None = None,
    ) -> None:
        self.api = api
        self.hot = hot
        self._faces = faces
        self.telemetry = telemetry or Telemetry()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        dressed = Dressed(send, scope, request_id_of(scope))
        scope["imagegate.request_id"] = dressed.request_id
        scope["path"] = tidy(scope["path"])
        scope["imagegate.face"] = next((face for face in self._faces if face.covers(scope["path"])), None)
        try:
            await self._serve(scope, receive, dressed)
        except Exception:
            # A path may be a signed link, or hold what a caller searched for.
            log.exception("unhandled", request_id=dressed.request_id, path=route_of(scope))
            if not dressed.begun:
                await bug_response(scope)(scope, receive, dressed)
            elif not dressed.ended:
                raise
        finally:
            if dressed.begun:
                self.telemetry.count_request(scope["method"], route_of(scope), dressed.status)

    async def _serve(self, scope: Scope, receive: Receive, dressed: "Dressed") -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEADERS:
            error = HeaderTooLarge(f"The headers are longer than {LONGEST_HEADERS} bytes.")
            await _plain_error(error, scope)(scope, receive, dressed)
            return
        hot = self.hot.get((scope["method"], scope["path"]))
        if hot is None:
            await self.api(scope, receive, dressed)
            return
        scope["app"], scope["imagegate.route"] = self.api, scope["path"]
        request = Request(scope, receive)
        try:
            response = await hot(request)
        except ImagegateError as error:
            response = error_response(request, error)
        except OUTAGES as error:
            response = error_response(request, outage(error))
        await response(scope, receive, dressed)


class Dressed:
    """An ASGI `send` that puts onto every answer the headers that all answers have.

    Before the last part of an answer goes out, its listener is told: whoever leaves later has what was asked for.
    """

    def __init__(self, send: Send, scope: Scope, request_id: str) -> None:
        self._send = send
        self._scope = scope
        self._started = monotonic()
        self.request_id = request_id
        self.begun = False
        self.status = 0
        self.ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            headers = message["headers"]
            ms = round((monotonic() - self._started) * 1000)
            headers += (
                (b"x-request-id", self.request_id.encode("latin-1")),
                (b"openai-processing-ms", b"%d" % ms),
                (b"x-content-type-options", b"nosniff"),
                *self._scope.get(EXTRA_HEADERS, ()),
            )
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"private, no-store"))
        elif not message.get("more_body"):
            self.ended = True
            if LISTENER in self._scope:
                self._scope[LISTENER].answered()
        await self._send(message)


def request_id_of(scope: Scope) -> str:
    """The caller's own, where it is harmless."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(said := value.decode("latin-1")):
            return str(said)
    return public_id("req", new_id())


PREFIXES = ("/openai/v1/", "/api/v1/")
"""What other gateways have in front of the same paths."""


def tidy(path: str) -> str:
    """Double and trailing slashes are tolerated, but in signed media paths; `/openai/v1` and `/api/v1` are `/v1`."""
    if path.startswith("/media/"):
        return path
    if "//" in path or (len(path) > 1 and path.endswith("/")):
        path = "/" + "/".join(part for part in path.split("/") if part)
    if path.startswith(PREFIXES):
        path = path[path.index("/v1/") :]
    return path


def bug_response(scope: Scope) -> Response:
    return _plain_error(ImagegateError("The gateway failed; this is a bug. Nothing more was charged."), scope)


def _plain_error(error: ImagegateError, scope: Scope) -> Response:
    face: Face = scope["imagegate.face"] or Face("", openai_error)
    status, body = face.render(error, scope["imagegate.request_id"])
    headers = {"x-should-retry": "false", "link": link_of(error.code)}
    return JSONResponse(body, status, headers=headers, media_type=face.media_type)


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
