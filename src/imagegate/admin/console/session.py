"""Who is at the console: the signed cookie, or whom a trusted proxy names; and where a form may come from."""

import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from imagegate.errors import CallerError, NotFound
from imagegate.identity import console, operators
from imagegate.identity.console import Ticket
from imagegate.identity.operators import Operator
from imagegate.services import Services
from imagegate.web.dependencies import headers_of, link_base, services_of

COOKIE = "imagegate_console"
FROM_PROXY = "imagegate.from_proxy"
"""In the scope: True where the connection itself came from one of IMAGEGATE_TRUSTED_PROXIES."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in. csrf: what their forms carry. operator: the key they signed in with.

    fresh: a proxy has just named them, and they have no cookie yet.
    """

    ticket: Ticket
    scopes: frozenset[str]
    csrf: str
    operator: Operator | None = None
    fresh: bool = False

    def may(self, scope: str) -> bool:
        return scope in self.scopes

    @property
    def role(self) -> str:
        return "write" if len(self.scopes) > 1 else "read"

    @property
    def who(self) -> str:
        return self.ticket.who


def forbidden(text: str, *, code: str) -> CallerError:
    refused = CallerError(text)
    refused.status, refused.type, refused.code = 403, "permission_error", code
    return refused


def check_no_account(request: Request) -> None:
    """Raises NotFound for callers that bring an account's key."""
    if headers_of(request).get(b"authorization", b"").lower().startswith(b"bearer igk_"):
        raise NotFound("There is nothing at this path.")


async def find_session(request: Request, connection: AsyncConnection) -> Session | None:
    """None: nobody is signed in. Raises NotFound for callers that bring an account's key."""
    check_no_account(request)
    services = services_of(request)
    keys, named = services.keyring.console_keys, named_by_proxy(request, services)
    ticket, key = console.read_any(keys, "session", request.cookies.get(COOKIE, ""))
    if ticket is not None and (
        (ticket.by_proxy and ticket.who != named) or await console.is_spent(connection, ticket)
    ):
        ticket = None
    fresh = ticket is None and named is not None
    if ticket is None and named is not None:
        ticket = console.new_session(services.settings.console_sso_role, named, by_proxy=True)
    if ticket is None:
        return None
    if ticket.operator_id is None:
        return Session(ticket, ticket.scopes, console.csrf_of(key, ticket), fresh=fresh)
    operator = await operators.find_active(connection, ticket.operator_id)
    if operator is None:
        return None
    return Session(ticket, operator.scopes, console.csrf_of(key, ticket), operator)


def named_by_proxy(request: Request, services: Services) -> str | None:
    """Whom the proxy says is there; None where it says nothing, or anybody could have said it."""
    header = services.settings.console_sso_header
    if header is None or request.scope.get(FROM_PROXY) is not True:
        return None
    sent = request.headers.getlist(header)
    name = sent[0].strip() if len(sent) == 1 else ""
    return f"console:{name}" if 1 <= len(name) <= 180 and name.isprintable() else None


def keep(request: Request, response: Response, ticket: Ticket) -> None:
    """Set the cookie; for pages below /console alone, out of reach of scripts and of other sites' forms."""
    key = services_of(request).keyring.console
    response.set_cookie(
        COOKIE,
        console.write(key, ticket),
        max_age=int(console.SESSION_LASTS.total_seconds()),
        path="/console",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )


def forget(request: Request, response: Response) -> None:
    response.delete_cookie(COOKIE, path="/console", secure=is_secure(request), httponly=True, samesite="lax")


def is_secure(request: Request) -> bool:
    return link_base(request).startswith("https://")


def check_origin(request: Request) -> None:
    """Raises a CallerError with status 403 for a form that another site sent."""
    headers = headers_of(request)
    origin = headers.get(b"origin", b"").decode("latin-1")
    ours = {headers.get(b"host", b"").decode("latin-1").lower(), urlsplit(link_base(request)).netloc.lower()}
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or parts.netloc.lower() not in ours - {""}:
        raise forbidden(
            "This form did not come from this console. Open the page again and repeat it there.",
            code="foreign_origin",
        )


def check_csrf(session: Session, sent: str) -> None:
    """Raises a CallerError with status 403."""
    if not hmac.compare_digest(sent.encode(), session.csrf.encode()):
        text = "This form belongs to another session. Open the page again and repeat it there."
        raise forbidden(text, code="csrf")
