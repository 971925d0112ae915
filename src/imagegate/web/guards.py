"""Reads a JSON body strictly: what two parsers could read differently is refused."""

import asyncio
import json
import re
from io import BytesIO
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.types import Message

from imagegate.domain import Principal
from imagegate.errors import InvalidRequest, RequestTimeout, TooLarge, UnsupportedMedia
from imagegate.load import Lease, Load
from imagegate.settings import Settings
from imagegate.web.dependencies import headers_of

DEEPEST = 32
CHARSET = re.compile(rb"""charset\s*=\s*["']?([^\s;"']*)""")


async def read_body(request: Request, settings: Settings, lease: Lease | None = None) -> bytes:
    """The whole body. Raises TooLarge, RequestTimeout, UnsupportedMedia (an encoded body).

    lease: grows with a body of unknown length, which may raise Overloaded.
    """
    check_head(request, settings.max_body_bytes)
    first = await received(request, settings.body_timeout_s)
    if not first.get("more_body", False):
        return bytes(first.get("body", b""))
    return await read_pieces(request, settings, first.get("body", b""), lease)


async def turn(request: Request, load: Load) -> None:
    """Before anything of the body is read. Raises Overloaded; else returns when its account is the next to begin."""
    load.check_late()
    principal: Principal = request.state.principal
    await load.turns.come(principal.account_id)


def length_of(request: Request) -> int | None:
    """What the headers say of the body's length, in bytes. None: they say nothing."""
    said = headers_of(request).get(b"content-length")
    return None if said is None else int(said)


def check_head(request: Request, most_bytes: int) -> None:
    """What the headers say of the body. Raises TooLarge, UnsupportedMedia (an encoded body)."""
    headers = headers_of(request)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("Send the body without Content-Encoding.", code="unsupported_encoding")
    if (length_of(request) or 0) > most_bytes:
        raise TooLarge(f"The body may have at most {most_bytes} bytes.")


async def read_pieces(
    request: Request, settings: Settings, first: bytes, lease: Lease | None = None
) -> bytes:
    """One buffer that grows: pieces that are joined in the end would be held twice."""
    whole, more = BytesIO(), True
    whole.write(first)
    until = monotonic() + settings.body_timeout_s
    growing = lease if length_of(request) is None else None
    while more:
        message = await received(request, until - monotonic())
        more = message.get("more_body", False)
        piece = message.get("body", b"")
        if growing is not None:
            growing.more(len(piece))
        whole.write(piece)
        if whole.tell() > settings.max_body_bytes:
            raise TooLarge(f"The body may have at most {settings.max_body_bytes} bytes.")
    return whole.getvalue()


async def received(request: Request, patience_s: float) -> Message:
    """The next piece of the body."""
    try:
        async with asyncio.timeout(max(patience_s, 0)):
            message = await request.receive()
    except TimeoutError:
        raise RequestTimeout("The body did not arrive in time.") from None
    if message["type"] == "http.disconnect":
        raise InvalidRequest("The body ended early.", code="invalid_json")
    return message


async def read_json_object(request: Request, settings: Settings) -> dict[str, Any]:
    """Raises InvalidRequest with the codes invalid_json, duplicate_key, invalid_unicode and invalid_encoding."""
    return parse_object(text_of(await read_json_body(request, settings)))


async def read_json_body(request: Request, settings: Settings, lease: Lease | None = None) -> bytes:
    """A body that says it is JSON, unread. Raises as `read_body` does."""
    kind, _, said = headers_of(request).get(b"content-type", b"application/json").lower().partition(b";")
    kind = kind.strip()
    if kind != b"application/json" and not kind.endswith(b"+json"):
        raise UnsupportedMedia("Send JSON, with Content-Type: application/json.")
    if said and (named := CHARSET.search(said)) and named[1] not in (b"utf-8", b"utf8", b"us-ascii"):
        text = "The Content-Type names another charset than UTF-8. Send UTF-8; JSON needs no charset."
        raise InvalidRequest(text, code="invalid_encoding")
    return await read_body(request, settings, lease)


def text_of(body: bytes) -> str:
    """Raises InvalidRequest `invalid_encoding`."""
    if body.startswith(b"\xef\xbb\xbf"):
        raise InvalidRequest(
            "The body begins with a byte order mark. Send plain UTF-8.", code="invalid_encoding"
        )
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not UTF-8.", code="invalid_encoding") from None


def parse_object(text: str) -> dict[str, Any]:
    try:
        value = STRICT.decode(text)
    except InvalidRequest:
        raise
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.", code="invalid_json") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    # One character is found ten times faster than two, and base64 has none of it.
    _check(value, 1, escaped="\\" in text and "\\u" in text)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidRequest("A key stands twice in one JSON object.", code="duplicate_key")
    return found


def _no_constant(_: str) -> float:
    raise ValueError("NaN and Infinity are no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number beyond a double's reach")
    return number


def _check(value: Any, depth: int, *, escaped: bool) -> None:
    """Depth, and characters that no UTF-8 text holds or PostgreSQL cannot keep."""
    if depth > DEEPEST:
        raise InvalidRequest(f"The JSON is nested deeper than {DEEPEST} levels.", code="invalid_json")
    if isinstance(value, str):
        if escaped and ("\0" in value or any("\ud800" <= c <= "\udfff" for c in value)):
            raise InvalidRequest("A string holds a lone surrogate or a NUL.", code="invalid_unicode")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(name, depth, escaped=escaped)
            _check(item, depth + 1, escaped=escaped)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1, escaped=escaped)


STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
