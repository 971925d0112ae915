"""Calls to configured hosts: one request each, and what is certain about it when it fails.

Two back ends send it: `direct` in production, `standin` where a test gives its own httpx transport.
"""

import asyncio
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError
from pydantic_core import from_json

from imagegate import __version__
from imagegate.errors import Ambiguous, AttemptFailed, NotSent, RefusedUnbilled

USER_AGENT = f"imagegate/{__version__}"
FIXED_HEADERS = (
    (b"User-Agent", USER_AGENT.encode()),
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),
)
JSON = "application/json"
HEADER_NAME = re.compile(r"[A-Za-z0-9_-]+")
MAX_ANSWER_BYTES = 64 * 1024 * 1024
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


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes. `origin` tells connections apart; `head` is what is the same in every request there."""

    url: httpx.URL
    origin: str
    head: bytes


@dataclass(frozen=True, slots=True)
class Post:
    """One request, checked. `headers` are the adapter's; Host, FIXED_HEADERS and the length come before them."""

    target: Target
    headers: list[tuple[bytes, bytes]]
    body: bytes
    method: str = "POST"


class Sending:
    """One call's box: `begun` is False as long as certainly no byte of the request has left."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False


class Api(Protocol):
    async def send(self, post: Post, sending: Sending, max_bytes: int) -> Answer | None:
        """Send once and read the raw answer; None when it is longer than `max_bytes`.

        `sending.begun` is set before the first byte can leave. Raises one of NETWORK_ERRORS.
        """


async def post_json(api: Api, post: Post, *, provider: str, timeout_s: float, max_bytes: int) -> Answer:
    sending = Sending()
    try:
        async with asyncio.timeout(timeout_s):
            answer = await api.send(post, sending, max_bytes)
    except NETWORK_ERRORS as error:
        raise failure(provider, error, sending, timeout_s) from error
    if answer is None:
        raise Ambiguous(provider, f"answered with more than {max_bytes} bytes")
    if 300 <= answer.status < 400:
        raise RefusedUnbilled(provider, f"answered with redirect {answer.status}: check its base URL")
    return answer


def build_post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    provider: str,
    content_type: str = JSON,
    method: str = "POST",
) -> Post:
    said = {**headers, "Content-Type": content_type} if body else headers
    try:
        own = [(header_name(name), header_value(value)) for name, value in said.items()]
        return Post(parsed(url, method), own, body, method)
    except (httpx.InvalidURL, ValueError):
        raise NotSent(provider, "has a base URL or a key that cannot be used") from None


def header_name(name: str) -> bytes:
    if not HEADER_NAME.fullmatch(name):
        raise ValueError("not a header's name")
    return name.encode("ascii")


def header_value(value: str) -> bytes:
    if not value.isprintable():
        raise ValueError("a header holds a control character")
    return value.encode("ascii")


@lru_cache(maxsize=256)
def parsed(url: str, method: str) -> Target:
    """Kept, since the few URLs that are called are called often."""
    target = httpx.URL(url)
    if target.scheme not in ("http", "https") or not target.host or target.userinfo:
        raise httpx.InvalidURL("not an http or https URL, or one with a user name")
    origin = f"{target.scheme}://{target.netloc.decode('ascii')}"
    lines = written(((b"Host", target.netloc), *FIXED_HEADERS))
    return Target(target, origin, b"%b %b HTTP/1.1\r\n%b" % (method.encode("ascii"), target.raw_path, lines))


def written(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


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
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its name does not resolve"
        case aiohttp.ClientConnectorSSLError() | aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            return "TLS failed"
        case TimeoutError():
            return "no connection in time"
        case _:
            return "no connection"
