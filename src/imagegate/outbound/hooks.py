"""Posts to addresses that callers and operators name: which of them may be asked at all, and one try at one.

A webhook goes to the public internet by https, to the usual port. The name is looked up at every try, all of its
addresses are checked, and only a checked one is connected to. No redirect is followed; nothing of the answer but its
status is kept.
"""

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from time import monotonic

import aiohttp
import httpx
from yarl import URL

from imagegate.errors import InvalidRequest
from imagegate.outbound import guard
from imagegate.outbound.client import JSON, NETWORK_ERRORS, USER_AGENT, reason

LONGEST_URL = 2048
MOST_READ_BYTES = 64 * 1024
LISTEN_S = 1.0
FIXED = {"Accept-Encoding": "identity", "Connection": "close"}
NOT_ALLOWED = (
    "This webhook URL is not allowed. Send a public https URL on port 443, without a user name and of at most "
    f"{LONGEST_URL} characters."
)


def check_hook_url(url: str, *, allow_private: bool) -> None:
    """Whether a webhook may go there as far as the text tells; nothing is looked up, so it costs microseconds.

    allow_private: IMAGEGATE_WEBHOOK_ALLOW_PRIVATE; http, any port and private addresses are let through too.
    Raises InvalidRequest `webhook_url_not_allowed`, param `webhook_url`, with one text for all cases.
    """
    try:
        place = read_hook_url(url, allow_private=allow_private)
    except guard.Forbidden:
        raise InvalidRequest(NOT_ALLOWED, code="webhook_url_not_allowed", param="webhook_url") from None
    address = literal_address(place.raw_host.decode("ascii").rstrip("."))
    if address is not None and not allow_private and not guard.is_public(address):
        raise InvalidRequest(NOT_ALLOWED, code="webhook_url_not_allowed", param="webhook_url")


def read_hook_url(url: str, *, allow_private: bool) -> httpx.URL:
    """Raises Forbidden."""
    if len(url) > LONGEST_URL:
        raise guard.Forbidden("is too long")
    place = guard.parse(url)
    host, port = guard.read_place(place)
    if allow_private:
        return place
    if place.scheme != "https" or port != guard.PORTS["https"]:
        raise guard.Forbidden("does not go to port 443 by https")
    if host == "localhost" or host.endswith(".localhost"):
        raise guard.Forbidden("goes to this machine itself")
    return place


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is in itself: also in decimal, octal or hexadecimal, or with parts left out."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """How one try ended. status: the receiver's, None without one. error: None when it is 2xx; no text of theirs."""

    status: int | None
    error: str | None


async def post_hook(
    session: aiohttp.ClientSession,
    names: Executor,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    allow_private: bool,
) -> HookAnswer:
    """One POST of JSON to a checked address, on a connection of its own. Raises nothing for what a receiver does.

    names: threads for name look-ups. timeout_s: for everything, from the look-up to the last byte that is read.
    """
    began = monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            place = read_hook_url(url, allow_private=allow_private)
            trusted = frozenset({guard.read_place(place)[0]}) if allow_private else frozenset[str]()
            response = await send(session, await guard.check(place, trusted, names), body, headers)
    except guard.Forbidden:
        return HookAnswer(None, "its URL is not one that webhooks may go to")
    except TimeoutError:
        return HookAnswer(None, f"gave no answer within {timeout_s:g} s")
    except socket.gaierror:
        return HookAnswer(None, "its name does not resolve")
    except aiohttp.ClientConnectorError as error:
        return HookAnswer(None, f"could not be reached: {reason(error)}")
    except NETWORK_ERRORS:
        return HookAnswer(None, "broke the connection off, or gave an answer that is not HTTP")
    try:
        await throw_away(response, min(LISTEN_S, timeout_s - (monotonic() - began)))
    finally:
        response.close()
    return answer_of(response.status)


async def send(
    session: aiohttp.ClientSession, target: guard.Target, body: bytes, headers: Mapping[str, str]
) -> aiohttp.ClientResponse:
    """Names for TLS and `Host` come from the URL, addresses from the check; a dead address is passed."""
    said = {**headers, "Host": target.netloc, "User-Agent": USER_AGENT, "Content-Type": JSON, **FIXED}
    for url in target.urls[:-1]:
        with suppress(aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return await send_once(session, url, target.host, body, said)
    return await send_once(session, target.urls[-1], target.host, body, said)


async def send_once(
    session: aiohttp.ClientSession, url: str, host: str, body: bytes, headers: Mapping[str, str]
) -> aiohttp.ClientResponse:
    exact = URL(url, encoded=True)
    return await session.post(exact, data=body, headers=headers, server_hostname=host, allow_redirects=False)


async def throw_away(response: aiohttp.ClientResponse, patience_s: float) -> None:
    """Hear the receiver out for a moment: one that is cut off while it answers would log an error."""
    left = MOST_READ_BYTES
    with suppress(TimeoutError, *NETWORK_ERRORS):
        async with asyncio.timeout(max(patience_s, 0)):
            while left > 0 and (chunk := await response.content.readany()):
                left -= len(chunk)


def answer_of(status: int) -> HookAnswer:
    if 200 <= status < 300:
        return HookAnswer(status, None)
    followed = ", and redirects are not followed" if 300 <= status < 400 else ""
    return HookAnswer(status, f"answered {status}{followed}")
