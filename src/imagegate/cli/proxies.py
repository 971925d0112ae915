"""Headers of proxies that are trusted, and whether a request came from one of them."""

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from imagegate.admin.console.session import FROM_PROXY


def behind_proxies(app: ASGIApp, trusted: str) -> ASGIApp:
    """Scheme and client as a trusted proxy tells them. trusted: addresses with commas between; empty: nobody is.

    Who is signed in to the console may be told by such a proxy alone. So it is noted here whether the connection itself
    came from one: afterwards its address is that of the proxy's own caller.
    """
    if not trusted.strip():
        return app
    believing = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type]

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        scope[FROM_PROXY] = client is not None and client[0] in believing.trusted_hosts
        await believing(scope, receive, send)  # type: ignore[arg-type]

    return noting
