"""Forms that flood, lie or nest: one clear answer, soon, without growing, and nothing is held."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from httpx import AsyncClient, Response
from pydantic_core import from_json

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.line.test_edits import MASK, PATH, PNG
from tests.line.test_edits_bad_input import BOUNDARY, GOOD, KIND, form, part

MB = 1024 * 1024
EDGE = f"--{BOUNDARY}\r\n".encode()
KEYS = {"message", "type", "param", "code"}
VARIATIONS = "/v1/images/variations"


def with_head(head: bytes, content: bytes = b"x") -> bytes:
    return EDGE + head + b"\r\n\r\n" + content + b"\r\n"


def disposition(said: bytes) -> bytes:
    return with_head(b"content-disposition: " + said)


NESTED = (
    b"content-disposition: form-data; name=prompt\r\ncontent-type: multipart/mixed; boundary=inner"
    b"\r\n\r\n--inner\r\n\r\na\r\n--inner--"
)
FLOODS: dict[str, bytes] = {
    "10,000 parts": form(*(part(f"x{i}", b"1") for i in range(10_000))),
    "10,000 parts without a name": form(*(with_head(b"a: b") for _ in range(10_000))),
    "100,000 headers in a part": form(EDGE + b"a: b\r\n" * 100_000 + b"\r\n\r\nx\r\n"),
    "a header without end": EDGE + b"content-disposition: " + b"a" * 4 * MB,
    "a header's name without end": EDGE + b"a" * 4 * MB,
    "headers that are never finished": EDGE + b"a: b\r\n" * 7,
    "a name of 1 MB": form(part("n" * MB, b"x")),
    "a file name of 1 MB": form(disposition(b'form-data; name="image"; filename="' + b"n" * MB + b'"')),
    "17 images": form(*GOOD[:2], *[GOOD[2]] * 17),
    "17 images by 17 names": form(*GOOD[:2], *(part(f"image[{i}]", PNG) for i in range(17))),
    "two masks": form(*GOOD, part("mask", MASK), part("mask", MASK)),
    "no boundary in it": b"x" * MB,
    "a byte order mark": b"\xef\xbb\xbf" + form(*GOOD),
    "text before the first part": b"preamble" + form(*GOOD),
    "another line end": form(*GOOD).replace(b"\r\n", b"\n"),
    "a boundary that goes on": form(*GOOD).replace(EDGE, f"--{BOUNDARY}x\r\n".encode()),
    "a header without a colon": form(with_head(b"content-disposition")),
    "a folded header": form(disposition(b"form-data;\r\n name=x")),
    "a NUL in a header": form(disposition(b'form-data; name="a\0b"')),
    "no disposition": form(with_head(b"content-type: text/plain")),
    "another disposition": form(disposition(b"attachment; name=x")),
    "a name that climbs": form(part("../../etc/passwd", b"x")),
    "a name with a newline": form(disposition(b'form-data; name="a%0d%0ab"')),
    "an empty name": form(part("", b"x")),
    "a name that is not ASCII": form(part("pröm", b"x")),
    "deep brackets": form(part("image" + "[0]" * 10, PNG)),
    "base64 by its header": form(part("image", b"aaaa", content_transfer_encoding="base64")),
}
OTHERS: dict[str, tuple[bytes, int, str]] = {
    "a field 1,000 times": (form(*GOOD, *[part("user", b"a")] * 1000), 400, "duplicate_key"),
    "a text that is not UTF-8": (form(*GOOD, part("user", b"\xc3\x28")), 400, "invalid_encoding"),
    "a text in UTF-16": (form(*GOOD, part("user", "añb".encode("utf-16"))), 400, "invalid_encoding"),
    "a text with NUL": (form(*GOOD, part("user", b"a\0")), 400, "invalid_unicode"),
    "a surrogate": (form(*GOOD, part("user", b"\xed\xa0\x80")), 400, "invalid_encoding"),
    "texts of 3 MB together": (
        form(*(part(f"x{i}", b"a" * 400_000) for i in range(8))),
        413,
        "request_too_large",
    ),
    "a nested form": (form(EDGE + NESTED + b"\r\n", *GOOD), 400, "duplicate_key"),
    "a nested form as a picture": (
        form(*GOOD[:2], with_head(b"content-disposition: form-data; name=image", NESTED)),
        400,
        "invalid_image",
    ),
    "empty files alone": (
        form(*GOOD[:2], part("image", b""), part("image", b"")),
        400,
        "missing_required_parameter",
    ),
    "65 unknown fields": (form(*GOOD, *(part(f"x{i}", b"1") for i in range(65))), 400, "unknown_parameter"),
    "a long prompt": (form(part("prompt", b"a" * 100_001), *GOOD[1:]), 400, "string_too_long"),
}
GOOD_TOO: dict[str, bytes] = {
    "a text behind a file": form(*reversed(GOOD)),
    "an epilogue": form(*GOOD) + b"epilogue",
    "empty files besides": form(*GOOD, part("image", b""), part("mask", b"")),
    "a file name of tricks": form(
        *GOOD[:2],
        with_head(b'content-disposition: form-data; name="image"; filename="../../etc/passwd%00.png"', PNG),
    ),
    "a file name by RFC 5987": form(
        *GOOD[:2],
        with_head(b"content-disposition: form-data; name=image; filename*=UTF-8''%e2%82%ac.png", PNG),
    ),
    "types that lie": form(*GOOD[:2], part("image", PNG, content_type="text/html; charset=utf-7")),
}


def fault(response: Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert set(error) == KEYS
    assert response.headers["x-request-id"] in error["message"]
    return response.status_code, error["code"]


@pytest.mark.parametrize("path", [PATH, VARIATIONS])
@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_refused_as_a_form_that_cannot_be_read(
    client: AsyncClient, account: Account, path: str, name: str
) -> None:
    response = await client.post(path, content=FLOODS[name], headers={"content-type": KIND})

    assert fault(response) == (400, "invalid_multipart")
    assert response.elapsed.total_seconds() < 5
    assert "passwd" not in response.text
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("name", OTHERS)
async def test_what_a_form_says_wrongly_is_named(client: AsyncClient, account: Account, name: str) -> None:
    body, status, code = OTHERS[name]

    response = await client.post(PATH, content=body, headers={"content-type": KIND})

    assert fault(response) == (status, code)
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("name", GOOD_TOO)
async def test_what_is_only_unusual_is_read(client: AsyncClient, name: str) -> None:
    response = await client.post(PATH, content=GOOD_TOO[name], headers={"content-type": KIND})

    assert response.status_code == 200, response.text


BOUNDARIES = (
    "",
    "; boundary=",
    f"; boundary={'b' * 10_240}",
    '; boundary="',
    "; boundary=a; boundary=",
    ";;;",
)


@pytest.mark.parametrize("said", BOUNDARIES)
async def test_a_boundary_that_is_none_is_refused(client: AsyncClient, said: str) -> None:
    response = await client.post(
        PATH, content=form(*GOOD), headers={"content-type": f"multipart/form-data{said}"}
    )

    assert fault(response) == (400, "invalid_multipart")


@pytest.mark.parametrize(
    "kind", ["multipart/mixed; boundary=frontier", "multipart/form-dataX; boundary=frontier"]
)
async def test_another_kind_of_multipart_is_refused(client: AsyncClient, kind: str) -> None:
    response = await client.post(PATH, content=form(*GOOD), headers={"content-type": kind})

    assert fault(response) == (415, "unsupported_media_type")


async def test_a_compressed_form_is_refused(client: AsyncClient) -> None:
    headers = {"content-type": KIND, "content-encoding": "gzip"}

    response = await client.post(PATH, content=b"\x1f\x8b" + bytes(100), headers=headers)

    assert fault(response) == (415, "unsupported_encoding")


async def test_a_flood_leaves_nothing_in_memory(client: AsyncClient) -> None:
    """The body comes in pieces; what is refused at once is not gathered first."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, 40 * MB, MB):
            yield (EDGE + b"content-disposition: " if start == 0 else b"") + b"a" * MB

    tracemalloc.start()
    try:
        response = await client.post(PATH, content=pieces(), headers={"content-type": KIND})
        refused = fault(response) == (400, "invalid_multipart")
    except httpx.WriteError:
        refused = True  # so early that we were still sending
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert refused
    assert peak < 12 * MB


@pytest.fixture
async def hurried(services: Services, serve: Callable[[Services], Awaitable[str]]) -> str:
    """A gateway that waits for bodies half a second only."""
    settings = services.settings.model_copy(update={"body_timeout_s": 0.5})
    return await serve(replace(services, settings=settings))


async def spoken(
    url: str, account: Account, head: str, body: bytes, drop: bytes = b""
) -> tuple[int, dict[str, Any]]:
    """What a gateway answers to bytes on a socket: head, body, and then a drop now and then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    lines = f"POST {PATH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {account.key}\r\n"
    writer.write(f"{lines}content-type: {KIND}\r\n{head}\r\n\r\n".encode() + body)

    async def drip() -> None:
        while drop:
            writer.write(drop)
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(x[15:]) for x in answer.lower().split(b"\r\n") if x.startswith(b"content-length:")
            )
            error = from_json(await reader.readexactly(length))["error"]
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()
    assert set(error) == KEYS
    return int(answer[9:12]), error


CHUNK = b"%x\r\n%b\r\n"
ENDLESS = {
    "a length that is too long": (f"content-length: {len(form(*GOOD)) + 100}", form(*GOOD)[:-40], b""),
    "chunks that stop coming": ("transfer-encoding: chunked", CHUNK % (len(GOOD[0]), GOOD[0]), b""),
    "chunks without end": ("transfer-encoding: chunked", CHUNK % (len(GOOD[0]), GOOD[0]), CHUNK % (1, b"-")),
    "a picture a byte at a time": (
        "transfer-encoding: chunked",
        CHUNK % (len(part("image", b"")) - 2, part("image", b"")[:-2]),
        CHUNK % (1, b"x"),
    ),
    "a body that never begins": ("content-length: 1000", b"", b""),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_body_that_does_not_end_is_left(hurried: str, account: Account, name: str) -> None:
    head, body, drop = ENDLESS[name]

    status, error = await spoken(hurried, account, head, body, drop)

    assert (status, error["code"]) == (408, "request_timeout")
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_length_that_is_too_short_is_a_form_that_breaks_off(base_url: str, account: Account) -> None:
    body = form(*GOOD)

    status, error = await spoken(base_url, account, f"content-length: {len(body) - 40}", body[:-40])

    assert (status, error["code"]) == (400, "invalid_multipart")
