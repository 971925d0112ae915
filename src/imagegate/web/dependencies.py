"""Who asks, and where this gateway is to be found from outside."""

import re
from typing import cast

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request

from imagegate.db.base import is_gone
from imagegate.domain import Principal
from imagegate.errors import BillingUnavailable, InvalidRequest, Unauthenticated
from imagegate.services import Services

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


def credential_of(request: Request) -> str:
    """The one API key of the request: `Authorization: Bearer`, or `api-key` or `x-api-key` alone."""
    headers = headers_of(request)
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
    """Raises Unauthenticated, InvalidRequest (two credentials), BillingUnavailable (no database)."""
    key = credential_of(request)
    try:
        principal = await services_of(request).keys.find(key)
    except (DBAPIError, PoolTimeout, OSError, TimeoutError) as error:
        if isinstance(error, DBAPIError) and not is_gone(error):
            raise
        raise BillingUnavailable from None
    request.state.principal = principal
    return principal


def link_base(request: Request) -> str:
    """IMAGEGATE_PUBLIC_URL, else scheme and host as the caller sees them."""
    if public := services_of(request).settings.public_url:
        return public
    host = headers_of(request).get(b"host", b"").decode("latin-1")
    if not HOST.fullmatch(host):
        server = request.scope.get("server") or ("127.0.0.1", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{request.scope['scheme']}://{host}"
