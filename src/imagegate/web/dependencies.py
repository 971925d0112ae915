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
    return cast(Services, request.app.state.services)


def credential_of(request: Request) -> str:
    """The one API key of the request: `Authorization: Bearer`, or `api-key` or `x-api-key` alone."""
    headers = request.headers
    found = [headers[name].strip() for name in ("x-api-key", "api-key") if headers.get(name)]
    if authorization := headers.get("authorization"):
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Send the API key as: Authorization: Bearer igk_…", code="missing_api_key")
        found.append(value.strip())
    if len(found) > 1:
        text = "Send one API key: either Authorization: Bearer, or x-api-key, or api-key."
        raise InvalidRequest(text, code="ambiguous_credentials")
    if not found or not found[0]:
        raise Unauthenticated(
            "No API key was sent. Send: Authorization: Bearer igk_…", code="missing_api_key"
        )
    return found[0]


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
    host = request.headers.get("host", "")
    if not HOST.fullmatch(host):
        server = request.scope.get("server") or ("127.0.0.1", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{request.scope['scheme']}://{host}"
