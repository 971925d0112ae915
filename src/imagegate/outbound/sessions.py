"""The two connection pools, and the flag that tells whether a request had a connection to be written to.

The exception's class cannot tell it: over aiohttp, httpx raises ConnectTimeout for a refused connection and
for a reset after the request alike (httpx 0.28.1, httpx-aiohttp 0.2.0, aiohttp 3.14.5; tried 2026-11-21).
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import SimpleNamespace

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

KEEP_IDLE_S = 5.0


class Sending:
    """One call's box: `begun` is False as long as certainly no byte of the request has left."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False


SENDING: ContextVar[Sending] = ContextVar("SENDING")


async def has_connection(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    """Called in the request's own task, once TCP and TLS are up or a kept connection was taken."""
    SENDING.get().begun = True


def connection_trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(has_connection)
    trace.on_connection_reuseconn.append(has_connection)
    return trace


@asynccontextmanager
async def open_sessions(
    *, connections: int, connect_s: float
) -> AsyncIterator[tuple[AiohttpTransport, aiohttp.ClientSession]]:
    """One pool for creating calls and one for links, so that no link's connection ever carries a key."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    async with (
        open_session(context, connections, connect_s, [connection_trace()]) as api,
        open_session(context, connections, connect_s, []) as links,
    ):
        yield AiohttpTransport(verify=context, client=api), links


def open_session(
    context: ssl.SSLContext, connections: int, connect_s: float, traces: list[aiohttp.TraceConfig]
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_IDLE_S, ssl=context),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=connect_s),
        trace_configs=traces,
        auto_decompress=False,
        trust_env=False,
    )
