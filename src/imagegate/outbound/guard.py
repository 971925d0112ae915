"""Where a link out of an answer may lead: http and https, no user, public addresses, the usual ports.

A name is resolved here, every one of its addresses is checked, and only a checked address is connected to, so
a name that changes between two look-ups gains nothing. Odd spellings of addresses (decimal, octal,
hexadecimal) are resolved by the same call as names and so need no rule of their own.
"""

import asyncio
import socket
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

PORTS = {"http": 80, "https": 443}
MAX_ADDRESSES = 4
GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
EXAMPLES = IPv6Network("3fff::/20")
"""For documentation (RFC 9637, read 2026-11-22), which Python's table does not know."""
NEVER = (
    IPv4Network("168.63.129.16/32"),  # Azure's own service address, though it counts as global
    IPv4Network("192.0.0.0/24"),  # Oracle's metadata lies here
    IPv4Network("192.88.99.0/24"),  # relays into 6to4
)


class Forbidden(Exception):
    """The link may not be followed. The text continues a sentence that a provider's name begins."""


class Unresolved(socket.gaierror):
    """The name leads nowhere."""


@dataclass(frozen=True, slots=True)
class Target:
    """One link and the addresses it was checked for. `urls` name the addresses instead of the host."""

    urls: tuple[str, ...]
    host: str
    netloc: str


async def check(url: httpx.URL, trusted: frozenset[str], names: Executor | None = None) -> Target:
    """Raises Forbidden, or Unresolved.

    names: threads of their own for the look-up, where a slow name must not hold up those of others.
    """
    host, port = read_place(url)
    trust = is_trusted(host, port, trusted)
    if not trust and port != PORTS[url.scheme]:
        raise Forbidden("gave a link to an unusual port")
    addresses = await resolve(host, port, names)
    if not trust and not all(is_public(address) for address in addresses):
        raise Forbidden("gave a link to a private address; a host that is meant must be named as trusted")
    path = url.raw_path.decode("ascii")
    places = [f"{bracketed(str(address))}:{port}" for address in addresses[:MAX_ADDRESSES]]
    return Target(
        tuple(f"{url.scheme}://{place}{path}" for place in places), host, url.netloc.decode("ascii")
    )


def parse(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        return base.join(text) if base else httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise Forbidden("gave a link that is no URL") from None


def read_place(url: httpx.URL) -> tuple[str, int]:
    """Host in small letters without a last dot, and the port."""
    if url.scheme not in PORTS:
        raise Forbidden("gave a link that is neither http nor https")
    if url.userinfo:
        raise Forbidden("gave a link that holds a user name")
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    if not host or "%" in host:
        raise Forbidden("gave a link without a host")
    return host, PORTS[url.scheme] if url.port is None else url.port


def is_trusted(host: str, port: int, trusted: frozenset[str]) -> bool:
    return bool({host, f"{host}:{port}", bracketed(host), f"{bracketed(host)}:{port}"} & trusted)


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def resolve(host: str, port: int, names: Executor | None = None) -> list[IPv4Address | IPv6Address]:
    try:
        return [ip_address(host)]
    except ValueError:
        pass
    loop, kind = asyncio.get_running_loop(), socket.SOCK_STREAM
    try:
        if names is None:
            found = await loop.getaddrinfo(host, port, type=kind)
        else:
            found = await loop.run_in_executor(names, partial(socket.getaddrinfo, host, port, type=kind))
    except UnicodeError:
        raise Forbidden("gave a link without a host") from None
    except OSError:
        raise Unresolved("the name does not resolve") from None
    addresses = list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
    if not addresses:
        raise Unresolved("the name has no address")
    return addresses


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """True for addresses of the public internet, also when one is wrapped into an IPv6 address."""
    if isinstance(address, IPv6Address):
        inner = wrapped(address)
        if inner is not None:
            return is_public(inner)
        if address in EXAMPLES:
            return False
        return address in GLOBAL_UNICAST and address.is_global and not address.is_multicast
    if address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return address.is_global and not any(address in network for network in NEVER)


def wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a 6to4 or NAT64 address leads to."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour
