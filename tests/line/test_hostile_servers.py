"""Servers behind an image URL that drip, pour, lie or hang: an error in time, bounded memory, and nothing held."""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from httpx import AsyncClient

from imagegate.generation.inputs import Bounds
from imagegate.outbound import open_outbound
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.line.test_edits import FIELDS, PATH, PNG
from tests.line.test_inputs import InputImage, refusal

MB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"
Writer = asyncio.StreamWriter
Manner = Callable[[Writer], Awaitable[None]]


def says(*pieces: bytes, end: str = "close") -> Manner:
    """These bytes, then the end: `close`, `reset` or `hang`."""

    async def play(writer: Writer) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if end == "reset":
            writer.transport.abort()
        if end == "hang":
            await asyncio.sleep(60)

    return play


def drips(head: bytes, drop: bytes, every_s: float = 0.01) -> Manner:
    async def play(writer: Writer) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every_s)

    return play


def pours(head: bytes, piece: bytes) -> Manner:
    return drips(head, piece, 0)


def sized(body: bytes, *headers: bytes) -> bytes:
    return OK + b"".join(h + b"\r\n" for h in headers) + b"content-length: %d\r\n\r\n" % len(body) + body


PAGE = b"<html>a secret of the address</html>"
BOMB = gzip.compress(bytes(20 * MB), 9)
AT_ONCE: dict[str, tuple[Manner, str]] = {
    "a page": (says(sized(PAGE, b"content-type: text/html")), "invalid_image"),
    "a page that is called a picture": (says(sized(PAGE, b"content-type: image/png")), "invalid_image"),
    "nothing": (says(sized(b"")), "invalid_image"),
    "204": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "invalid_image"),
    "206": (says(b"HTTP/1.1 206 Partial Content\r\ncontent-length: 4\r\n\r\nabcd"), "invalid_image"),
    "304": (says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "invalid_image"),
    "401": (
        says(b"HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"),
        "invalid_image",
    ),
    "a redirect to nowhere": (says(b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"), "invalid_image"),
    "a close at once": (says(), "invalid_image"),
    "a reset at once": (says(end="reset"), "invalid_image"),
    "a reset in the middle": (
        says(OK + b"content-length: 9000\r\n\r\n", PNG[:300], end="reset"),
        "invalid_image",
    ),
    "a close in the middle": (says(OK + b"content-length: 9000\r\n\r\n", PNG[:300]), "invalid_image"),
    "half a picture as a whole": (says(sized(PNG[: len(PNG) // 2])), "invalid_image"),
    "another protocol": (says(b"220 mail.example ESMTP\r\n"), "invalid_image"),
    "broken chunks": (says(OK + b"transfer-encoding: chunked\r\n\r\nXYZ\r\n"), "invalid_image"),
    "two lengths": (says(OK + b"content-length: 4\r\ncontent-length: 5\r\n\r\nabcde"), "invalid_image"),
    "a length below zero": (says(OK + b"content-length: -5\r\n\r\nabcde"), "invalid_image"),
    "a header of a megabyte": (says(OK + b"x: " + b"a" * MB + b"\r\n\r\n"), "invalid_image"),
    "headers without end": (pours(OK, b"x: a\r\n" * 1000), "invalid_image"),
    "10 GB, declared": (says(OK + b"content-length: 10737418240\r\n\r\n", end="hang"), "image_too_large"),
    "a body without end": (pours(OK + b"connection: close\r\n\r\n", b"x" * 65536), "image_too_large"),
    "chunks without end": (
        pours(OK + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        "image_too_large",
    ),
    "a picture without end": (
        pours(OK + b"connection: close\r\n\r\n" + PNG, b"\0" * 65536),
        "image_too_large",
    ),
    "a gzip bomb": (
        says(sized(BOMB, b"content-encoding: gzip", b"content-type: image/png")),
        "invalid_image",
    ),
}
LATE: dict[str, Manner] = {
    "silence": says(end="hang"),
    "headers, then silence": (says(OK + b"content-length: 9\r\n\r\n", end="hang")),
    "a status line a byte at a time": drips(b"", b"H"),
    "headers a byte at a time": drips(OK + b"x: ", b"a"),
    "a body a byte at a time": drips(OK + b"content-length: 5000000\r\n\r\n", b"x"),
    "chunks of a byte": drips(OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "interim answers without end": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@asynccontextmanager
async def behaving(services: Services, manner: Manner) -> AsyncIterator[tuple[Services, str]]:
    """A gateway for which this server counts as public, and the server's URL."""

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await manner(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with open_outbound(allow_private_hosts=frozenset({place})) as outbound:
            yield replace(services, outbound=outbound), f"http://{place}/a.png"
    finally:
        server.close()


@pytest.mark.parametrize("name", AT_ONCE)
async def test_a_server_that_gives_no_picture_is_an_error_at_once(opened: Services, name: str) -> None:
    manner, code = AT_ONCE[name]

    async with behaving(opened, manner) as (services, url), asyncio.timeout(8):
        bounds = Bounds(each_bytes=2 * MB, together_bytes=3 * MB, fetch_s=8)
        refused = await refusal(services, InputImage(url=url), bounds=bounds)

    assert (refused.code, refused.param) == (code, "image")
    assert "secret" not in refused.message


@pytest.mark.parametrize("name", LATE)
async def test_a_server_that_takes_its_time_is_left(opened: Services, name: str) -> None:
    async with behaving(opened, LATE[name]) as (services, url), asyncio.timeout(5):
        refused = await refusal(services, InputImage(url=url), bounds=Bounds(fetch_s=0.3))

    assert (refused.code, refused.param) == ("invalid_image", "image")


@pytest.mark.parametrize("name", ["a body without end", "a picture without end", "a gzip bomb"])
async def test_what_pours_is_not_kept_beyond_the_room_there_is(opened: Services, name: str) -> None:
    bounds = Bounds(each_bytes=8 * MB, together_bytes=8 * MB)

    async with behaving(opened, AT_ONCE[name][0]) as (services, url):
        tracemalloc.start()
        try:
            await refusal(services, InputImage(url=url), bounds=bounds)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak < 12 * MB


@pytest.mark.parametrize("name", ["a page", "204", "a reset in the middle", "10 GB, declared", "a gzip bomb"])
async def test_nothing_is_held_for_a_picture_that_does_not_come(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]], name: str
) -> None:
    manner, code = AT_ONCE[name]

    async with behaving(services, manner) as (reaching, image_url):
        headers = {"authorization": f"Bearer {account.key}"}
        async with AsyncClient(base_url=await serve(reaching), headers=headers, timeout=30) as client:
            response = await client.post(PATH, json=FIELDS | {"image": image_url})

    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (response.status_code, error["code"], error["param"]) == (400, code, "image")
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_picture_by_another_type_is_a_picture_all_the_same(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]]
) -> None:
    async with behaving(services, says(sized(PNG, b"content-type: text/html"))) as (reaching, image_url):
        headers = {"authorization": f"Bearer {account.key}"}
        async with AsyncClient(base_url=await serve(reaching), headers=headers, timeout=30) as client:
            response = await client.post(PATH, json=FIELDS | {"image": image_url})

    assert response.status_code == 200, response.text
