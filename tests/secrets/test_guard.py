"""The guard of links alone: what it connects to, how names are looked up, and why it refuses."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

import httpx
import pytest

from imagegate.outbound.guard import Forbidden, Target, Unresolved, check, is_public, parse, resolve

PUBLIC, ALSO, PRIVATE = "93.184.216.34", "2606:4700::1111", "10.0.0.7"
Call = tuple[str, int, int, str]


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, list[str]], list[Call]]:
    """Names and their addresses; and who asked: host, port, kind, thread."""
    names: dict[str, list[str]] = {}
    asked: list[Call] = []

    def getaddrinfo(
        host: str, port: int, family: int = 0, type: int = 0, *more: Any, **named: Any
    ) -> list[Any]:
        asked.append((host, port, type, threading.current_thread().name))
        if host not in names:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names, asked


async def why(url: str, *trusted: str) -> str:
    with pytest.raises(Forbidden) as raised:
        await check(parse(url), frozenset(trusted))
    return str(raised.value)


async def test_a_link_is_turned_into_the_addresses_it_was_checked_for(
    book: tuple[dict[str, list[str]], list[Call]],
) -> None:
    book[0]["pictures.example"] = [PUBLIC, ALSO, PUBLIC, "8.8.8.8", "1.1.1.1", "9.9.9.9"]

    found = await check(httpx.URL("https://Pictures.Example./a%20b?c=d#e"), frozenset())
    alone = await check(httpx.URL(f"http://[{ALSO}]/"), frozenset())

    places = [PUBLIC, f"[{ALSO}]", "8.8.8.8", "1.1.1.1"]
    assert found == Target(
        tuple(f"https://{place}:443/a%20b?c=d" for place in places), "pictures.example", "pictures.example."
    )
    assert alone == Target((f"http://[{ALSO}]:80/",), ALSO, f"[{ALSO}]")


async def test_a_name_is_looked_up_in_the_threads_given_for_it(
    book: tuple[dict[str, list[str]], list[Call]],
) -> None:
    names, asked = book
    names["slow.example"] = [PUBLIC]

    with ThreadPoolExecutor(1, thread_name_prefix="names") as threads:
        inside = await resolve("slow.example", 443, threads)
        await resolve("slow.example", 80)
        with pytest.raises(Unresolved, match=r"^the name does not resolve$"):
            await resolve("nowhere.example", 443, threads)
        literal = await resolve(PRIVATE, 443, threads)
        await check(httpx.URL("https://slow.example/"), frozenset(), threads)

    assert inside == [ip_address(PUBLIC)]
    assert literal == [ip_address(PRIVATE)]
    assert [call[:3] for call in asked] == [
        ("slow.example", 443, socket.SOCK_STREAM),
        ("slow.example", 80, socket.SOCK_STREAM),
        ("nowhere.example", 443, socket.SOCK_STREAM),
        ("slow.example", 443, socket.SOCK_STREAM),
    ]
    assert [call[3].startswith("names") for call in asked] == [True, False, True, True]


async def test_a_name_without_an_address_and_one_that_is_none_are_told_apart(
    book: tuple[dict[str, list[str]], list[Call]],
) -> None:
    book[0]["empty.example"] = []

    with pytest.raises(Unresolved, match=r"^the name has no address$"):
        await resolve("empty.example", 443)
    with pytest.raises(Unresolved, match=r"^the name does not resolve$"):
        await resolve("nowhere.example", 443)


async def test_a_label_that_is_too_long_for_a_name_is_a_link_without_a_host() -> None:
    with pytest.raises(Forbidden, match=r"^gave a link without a host$"):
        await resolve("a" * 64 + "." + "é" * 64, 443)


def test_a_link_is_read_from_where_it_stood() -> None:
    base = httpx.URL("https://pictures.example/a/b")

    assert parse("../c", base) == httpx.URL("https://pictures.example/c")
    assert parse("https://other.example/", base) == httpx.URL("https://other.example/")


async def test_each_refusal_says_why(book: tuple[dict[str, list[str]], list[Call]]) -> None:
    book[0].update({"mixed.example": [PUBLIC, PRIVATE], "inside.example": [PRIVATE]})

    private = "gave a link to a private address; a host that is meant must be named as trusted"
    assert await why("http://mixed.example/") == private
    assert await why("http://inside.example/", "other.example", "inside.example:8080") == private
    assert await why("http://[::1]/") == private
    assert await why("http://pictures.example:8080/") == "gave a link to an unusual port"
    assert await why("https://pictures.example:80/") == "gave a link to an unusual port"
    assert await why("ftp://pictures.example/") == "gave a link that is neither http nor https"
    assert await why("http://u@pictures.example/") == "gave a link that holds a user name"
    assert await why("http:///nowhere") == "gave a link without a host"
    assert await why("http://[fe80::1%25eth0]/") in (
        "gave a link without a host",
        "gave a link that is no URL",
    )
    with pytest.raises(Forbidden, match=r"^gave a link that is no URL$"):
        parse("http://pictures.example:port/")


@pytest.mark.parametrize("trusted", [PRIVATE, f"{PRIVATE}:8080", "fd00::7", "[fd00::7]", "[fd00::7]:8080"])
async def test_a_host_that_is_named_is_let_through_with_or_without_its_port(trusted: str) -> None:
    place = f"{PRIVATE}:8080" if PRIVATE in trusted else "[fd00::7]:8080"

    found = await check(httpx.URL(f"http://{place}/a"), frozenset({trusted}))

    assert found.urls == (f"http://{place}/a",)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        (ALSO, True),
        ("3fff::1", False),
        ("3fff:fff:ffff::1", False),
        ("2001:db8::1", False),
        ("ff0e::1", False),
        ("fc00::1", False),
        ("4000::1", False),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b::a00:7", False),
        ("2002:5db8:d822::1", True),
        ("2002:a00:7::1", False),
        ("::ffff:93.184.216.34", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("239.255.255.250", False),
        ("240.0.0.1", False),
        ("168.63.129.16", False),
        ("192.0.0.9", False),
        ("192.88.99.1", False),
        ("198.51.100.7", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public
