"""The two connection pools: one for creating calls and one for links, so that no link's connection carries a key."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx

KEEP_IDLE_S = 5.0


@asynccontextmanager
async def open_pools(
    *, connections: int, connect_s: float
) -> AsyncIterator[tuple[aiohttp.BaseConnector, aiohttp.ClientSession]]:
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    async with (
        open_connector(context, connections) as api,
        open_session(open_connector(context, connections), connect_s) as links,
    ):
        yield api, links


def open_connector(context: ssl.SSLContext, connections: int) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_IDLE_S, ssl=context)


def open_session(connector: aiohttp.TCPConnector, connect_s: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=connect_s),
        auto_decompress=False,
        trust_env=False,
    )
