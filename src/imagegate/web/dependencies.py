"""Who asks, and where this gateway is to be found from outside."""

import re
from collections.abc import Mapping
from typing import cast

from pydantic import SecretStr
from starlette.requests import Request

from imagegate.domain import Asked, Principal
from imagegate.errors import InvalidRequest, Unauthenticated
from imagegate.services import Services
from imagegate.web.apps import for_app
from imagegate.web.outages import OUTAGES, outage

HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:\d{1,5})?")


def services_of(request: Request) -> Services:
    known: Services | None = request.scope.get("imagegate.services")
    if known is None:
        known = request.scope["imagegate.services"] = cast(Services, request.app.state.services)
    return known


def headers_of(request: Request) -> dict[bytes, bytes]:
    """The headers as they came, names in small letters; of a repeated one the first counts. Made once a request."""
    known: dict[bytes, bytes] | None = request.scope.get("imagegate.headers")
    if known is None:
        known = request.scope["imagegate.headers"] = dict(reversed(request.scope["headers"]))
    return known


ONCE = {
    b"authorization": "ambiguous_credentials",
    b"x-api-key": "ambiguous_credentials",
    b"api-key": "ambiguous_credentials",
    b"idempotency-key": "invalid_idempotency_key",
    b"content-type": "invalid_value",
    b"host": "invalid_value",
    b"x-provider-key": "invalid_value",
    b"lb-llm-key": "invalid_value",
}
"""Headers of which a server in front may have read another one than we, and the code where they are repeated."""


def check_once(request: Request) -> None:
    """Raises InvalidRequest for a request that has one of `ONCE` twice."""
    names = [name for name, _ in request.scope["headers"] if name in ONCE]
    for name in names:
        if names.count(name) > 1:
            text = f"The request has more than one header {name.decode()}. Send it once."
            raise InvalidRequest(text, code=ONCE[name], param=name.decode())


def credential_of(request: Request) -> str:
    """The one API key of the request: `Authorization: Bearer`, or `api-key` or `x-api-key` alone."""
    headers = headers_of(request)
    if len(headers) != len(request.scope["headers"]):
        check_once(request)
    found = [headers[name].strip() for name in (b"x-api-key", b"api-key") if headers.get(name)]
    if authorization := headers.get(b"authorization"):
        scheme, _, value = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthenticated("Send the API key as: Authorization: Bearer igk_…", code="missing_api_key")
        found.append(value.strip())
    if len(found) > 1:
        text = "Send one API key: either Authorization: Bearer, or x-api-key, or api-key."
        raise InvalidRequest(text, code="ambiguous_credentials")
    if not found or not found[0]:
        raise Unauthenticated(
            "No API key was sent. Send: Authorization: Bearer igk_…", code="missing_api_key"
        )
    return found[0].decode("latin-1")


async def authenticate(request: Request) -> Principal:
    """Whose key it is, and the app that `X-App-ID` names. Raises as `key_holder` and `in_app` do."""
    return in_app(request, await key_holder(request))


def in_app(request: Request, principal: Principal) -> Principal:
    """The principal with the app that `X-App-ID` names, where none was named before. Raises InvalidRequest."""
    named = headers_of(request).get(b"x-app-id")
    return principal if named is None else for_app(principal, named.decode("utf-8", "replace"), "X-App-ID")


async def key_holder(request: Request) -> Principal:
    """Raises Unauthenticated, InvalidRequest (two credentials), BillingUnavailable (no database)."""
    key = credential_of(request)
    try:
        principal = await services_of(request).keys.find(key)
    except OUTAGES as error:
        raise outage(error) from None
    request.state.principal = principal
    return principal


def is_set(request: Request, *names: str) -> bool:
    """Whether the query says `true` for a parameter, by any of its names. Raises InvalidRequest for other words."""
    query = request.scope["query_string"]
    if not query:
        return False
    said = [(name, value) for name in names for value in request.query_params.getlist(name)]
    for name, value in said:
        if value.lower() not in ("true", "1", "false", "0"):
            raise InvalidRequest(f"{name} is true or false.", code="invalid_value", param=name)
    return any(value.lower() in ("true", "1") for _, value in said)


PROVIDER_KEY = re.compile(rb"[!-~]{1,512}")
PROVIDER_KEY_HEADERS = (b"x-provider-key", b"lb-llm-key")


def own_key_of(request: Request) -> SecretStr | None:
    """The caller's own provider key: `x-provider-key`, or Langbase's `LB-LLM-Key`. Raises InvalidRequest.

    Langbase's client sends its header always, so that an empty one means none.
    """
    headers = headers_of(request)
    for name in PROVIDER_KEY_HEADERS:
        if name in headers and (headers[name] or name != b"lb-llm-key"):
            if not PROVIDER_KEY.fullmatch(headers[name]):
                text = "A provider key has 1 to 512 visible ASCII characters."
                raise InvalidRequest(text, code="invalid_value", param=name.decode())
            return SecretStr(headers[name].decode())
    return None


def link_base(request: Request) -> str:
    """IMAGEGATE_PUBLIC_URL, else scheme and host as the caller sees them."""
    if public := services_of(request).settings.public_url:
        return public
    host = headers_of(request).get(b"host", b"").decode("latin-1")
    if not HOST.fullmatch(host):
        server = request.scope.get("server") or ("127.0.0.1", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{request.scope['scheme']}://{host}"


IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._~:-]{1,128}")


def asked_of(request: Request, route: str) -> Asked:
    """By what a repetition of this request is recognised. `route`: the same for all addresses of one route.

    Raises InvalidRequest for an Idempotency-Key that is none.
    """
    headers = headers_of(request)
    sent = headers.get(b"idempotency-key")
    key = None if sent is None else sent.decode("latin-1").strip()
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        text = "An Idempotency-Key has 1 to 128 characters of A-Z a-z 0-9 . _ ~ : -"
        raise InvalidRequest(text, code="invalid_idempotency_key", param="Idempotency-Key")
    tried, length = headers.get(b"x-stainless-retry-count", b""), headers.get(b"content-length", b"")
    session, trace = grouping_of(headers)
    return Asked(
        route,
        key,
        int(tried) if tried.isdigit() and len(tried) < 4 else 0,
        session,
        trace or services_of(request).spans.trace_id(),
        int(length) if length.isdigit() else None,
        request.scope.get("imagegate.request_id"),
    )


TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
SESSION = re.compile(rb"[ -~]{1,256}")


def grouping_of(headers: Mapping[bytes, bytes]) -> tuple[str | None, str | None]:
    """The session of `X-Session-ID`, the trace's id of `traceparent` (W3C Trace Context). What is malformed is none."""
    session, parent = headers.get(b"x-session-id"), headers.get(b"traceparent")
    named = session is not None and SESSION.fullmatch(session)
    traced = TRACE_PARENT.fullmatch(parent) if parent is not None else None
    return named[0].decode("ascii") if named else None, traced[1].decode("ascii") if traced else None
