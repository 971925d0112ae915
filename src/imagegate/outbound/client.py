"""Creating calls: one POST to a configured host, and what is certain about it when it fails."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError
from pydantic_core import from_json

from imagegate import __version__
from imagegate.errors import Ambiguous, AttemptFailed, NotSent, RefusedUnbilled
from imagegate.outbound.sessions import SENDING, Sending

USER_AGENT = f"imagegate/{__version__}"
FIXED_HEADERS = (
    (b"User-Agent", USER_AGENT.encode()),
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),
    (b"Content-Type", b"application/json"),
)
MAX_ANSWER_BYTES = 64 * 1024 * 1024
WHOLE_BYTES = 512 * 1024
SLICE_BYTES = 64 * 1024
NETWORK_ERRORS = (httpx.HTTPError, aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Names of headers are looked up in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Raises ValueError when the body is not JSON."""
        return from_json(self.body)


class SlicedBody(httpx.AsyncByteStream):
    """Megabytes in slices: written at once they would hold up the event loop."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), SLICE_BYTES):
            yield bytes(self._body[start : start + SLICE_BYTES])


async def post_json(
    api: httpx.AsyncBaseTransport,
    request: httpx.Request,
    *,
    provider: str,
    timeout_s: float,
    max_bytes: int,
) -> Answer:
    sending = Sending()
    SENDING.set(sending)
    try:
        async with asyncio.timeout(timeout_s):
            response = await api.handle_async_request(request)
            try:
                content = await read_body(response, max_bytes)
            finally:
                await response.aclose()
    except NETWORK_ERRORS as error:
        raise failure(provider, error, sending, timeout_s) from error
    if content is None:
        raise Ambiguous(provider, f"answered with more than {max_bytes} bytes")
    if 300 <= response.status_code < 400:
        raise RefusedUnbilled(provider, f"answered with redirect {response.status_code}: check its base URL")
    return Answer(response.status_code, response.headers, content)


async def build_request(
    url: str, body: bytes, headers: Mapping[str, str], *, provider: str, connect_s: float
) -> httpx.Request:
    """httpx's client and its encoding of requests are left out: with them a call costs twice as much."""
    try:
        target, host = parsed(url)
        lines = [(b"Host", host), *FIXED_HEADERS, (b"Content-Length", b"%d" % len(body))]
        lines += [(name.encode("ascii"), header_value(value)) for name, value in headers.items()]
    except (httpx.InvalidURL, ValueError):
        raise NotSent(provider, "has a base URL or a key that cannot be used") from None
    # httpx-aiohttp hands `pool` to aiohttp as `connect`: the wait for a place and the connecting.
    extensions = {"timeout": {"pool": connect_s}}
    if len(body) > WHOLE_BYTES:
        return httpx.Request("POST", target, headers=lines, stream=SlicedBody(body), extensions=extensions)
    stream = httpx.ByteStream(body)
    request = httpx.Request("POST", target, headers=lines, stream=stream, extensions=extensions)
    await request.aread()
    return request


def header_value(value: str) -> bytes:
    if not value.isprintable():
        raise ValueError("a header holds a control character")
    return value.encode("ascii")


@lru_cache(maxsize=256)
def parsed(url: str) -> tuple[httpx.URL, bytes]:
    target = httpx.URL(url)
    if target.scheme not in ("http", "https") or not target.host or target.userinfo:
        raise httpx.InvalidURL("not an http or https URL, or one with a user name")
    return target, target.netloc


async def read_body(response: httpx.Response, max_bytes: int) -> bytes | None:
    """The raw body; None when it is longer than `max_bytes`."""
    if declared_bytes(response.headers) > max_bytes:
        return None
    chunks, size = [], 0
    async for chunk in cast(httpx.AsyncByteStream, response.stream):
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def declared_bytes(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def failure(provider: str, error: BaseException, sending: Sending, timeout_s: float) -> AttemptFailed:
    if not sending.begun:
        return NotSent(provider, f"could not be reached: {reason(error)}")
    if isinstance(error, TimeoutError):
        return Ambiguous(provider, f"gave no whole answer within {timeout_s:g} s")
    return Ambiguous(provider, "broke the connection off before its answer was whole")


def reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) else error
    match cause:
        case aiohttp.ClientConnectorDNSError():
            return "its name does not resolve"
        case aiohttp.ClientConnectorSSLError() | aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            return "TLS failed"
        case TimeoutError():
            return "no connection in time"
        case _:
            return "no connection"
