"""Fetching what an answer or a request points at: each hop is checked by `guard` and nothing secret is sent."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from imagegate.errors import Ambiguous, BilledInvalid
from imagegate.outbound import guard
from imagegate.outbound.arriving import LONG_BYTES, make_room
from imagegate.outbound.client import USER_AGENT, declared_bytes

MAX_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    trusted: frozenset[str],
    timeout_s: float,
    max_bytes: int,
    provider: str,
) -> bytes:
    """Errors are raised without their cause: it would carry the link, which is a secret of its own."""
    try:
        async with asyncio.timeout(timeout_s):
            return await follow(session, guard.parse(url), trusted, Room(max_bytes, max_bytes), provider)
    except guard.Forbidden as error:
        raise BilledInvalid(provider, str(error)) from None
    except TimeoutError:
        raise Ambiguous(provider, f"did not deliver the image it links to within {timeout_s:g} s") from None
    except (aiohttp.ClientError, HttpProcessingError, OSError):
        raise Ambiguous(provider, "links to an image that could not be fetched") from None


@dataclass(slots=True)
class Room:
    """How many bytes one image may have, and how many may still come of all that share this.

    grown: told of every piece that has come; what it raises ends the fetch.
    """

    each_bytes: int
    left_bytes: int
    grown: Callable[[int], None] | None = None


class TooLong(guard.Forbidden):
    """More bytes than there is room for."""


async def follow(
    session: aiohttp.ClientSession,
    url: httpx.URL,
    trusted: frozenset[str],
    room: Room,
    provider: str,
    names: Executor | None = None,
) -> bytes:
    """names: threads for name look-ups, as of `guard.check`."""
    for _ in range(1 + MAX_REDIRECTS):
        async with await get(session, await guard.check(url, trusted, names)) as response:
            if response.status in REDIRECTS and "Location" in response.headers:
                url = guard.parse(response.headers["Location"], base=url)
                continue
            if response.status != 200:
                raise status_error(provider, response.status)
            return await read_image(response, room)
    raise guard.Forbidden(f"gave a link that redirects more than {MAX_REDIRECTS} times")


async def get(session: aiohttp.ClientSession, target: guard.Target) -> aiohttp.ClientResponse:
    """Addresses come from the check, the names for TLS and `Host` from the link. A dead address is passed."""
    headers = {"Host": target.netloc, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    for url in target.urls[:-1]:
        with suppress(aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return await get_once(session, url, target.host, headers)
    return await get_once(session, target.urls[-1], target.host, headers)


async def get_once(
    session: aiohttp.ClientSession, url: str, host: str, headers: dict[str, str]
) -> aiohttp.ClientResponse:
    """`encoded=True`: a signed link must arrive byte for byte."""
    exact = URL(url, encoded=True)
    return await session.get(exact, headers=headers, server_hostname=host, allow_redirects=False)


def status_error(provider: str, status: int) -> BilledInvalid | Ambiguous:
    detail = f"links to an image that answers {status}"
    if status >= 500 or status in (408, 425, 429):
        return Ambiguous(provider, detail)
    return BilledInvalid(provider, detail)


async def read_image(response: aiohttp.ClientResponse, room: Room) -> bytes:
    most = min(room.each_bytes, room.left_bytes)
    too_long = TooLong(f"links to an image of more than {most} bytes")
    declared = declared_bytes(response.headers)
    if declared > most:
        raise too_long
    if declared > LONG_BYTES:
        await make_room(declared)
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        room.left_bytes -= len(chunk)
        if room.grown is not None:
            room.grown(len(chunk))
        if size > room.each_bytes or room.left_bytes < 0:
            raise too_long
        chunks.append(chunk)
    return b"".join(chunks)
