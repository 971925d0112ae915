"""Every way an edit can be wrong: one clear answer, and nothing is held."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient
from starlette.requests import Request
from starlette.types import Message

from imagegate.dialects.openai.edits import FILES
from imagegate.load import Load
from imagegate.services import Services
from imagegate.settings import Settings
from imagegate.web.uploads import LONGEST_TEXT_BYTES, MOST_PARTS, read_form
from tests.conftest import LIVE_TOKENS, Account
from tests.line.test_edits import FIELDS, MASK, PATH, PNG, data_url
from tests.media.pictures import encoded, picture
from tests.media.test_formats import END, PIXELS, header, png_with

BOUNDARY = "frontier"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, content: bytes, **headers: str) -> bytes:
    said = {"content-disposition": f'form-data; name="{name}"', **headers}
    lines = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in said.items())
    return f"--{BOUNDARY}\r\n{lines}\r\n".encode() + content + b"\r\n"


def form(*parts: bytes, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> bytes:
    return b"".join(parts) + end


GOOD = (part("prompt", b"a boat"), part("model", b"sandbox"), part("image", PNG))
UNNAMED = f"--{BOUNDARY}\r\ncontent-type: text/plain\r\n\r\nx\r\n".encode()
FORMS: dict[str, tuple[bytes, int, str, str | None]] = {
    "nothing": (b"", 400, "invalid_multipart", None),
    "no end": (form(*GOOD, end=b""), 400, "invalid_multipart", None),
    "another boundary": (b"--other\r\n\r\n--other--", 400, "invalid_multipart", None),
    "a part without a name": (form(*GOOD, UNNAMED), 400, "invalid_multipart", None),
    "a name with a blank": (form(*GOOD, part("a b", b"1")), 400, "invalid_multipart", None),
    "too many headers": (
        form(*GOOD, part("x", b"1", **{f"x_{i}": "1" for i in range(20)})),
        400,
        "invalid_multipart",
        None,
    ),
    "a long header": (form(*GOOD, part("x", b"1", x_y="a" * 5000)), 400, "invalid_multipart", None),
    "an encoded part": (
        form(part("prompt", b"YQ==", content_transfer_encoding="base64")),
        400,
        "invalid_multipart",
        None,
    ),
    "too many parts": (
        form(*(part(f"x{i}", b"1") for i in range(MOST_PARTS + 1))),
        400,
        "invalid_multipart",
        None,
    ),
    "17 images": (form(*GOOD[:2], *[GOOD[2]] * 17), 400, "invalid_multipart", None),
    "two masks": (form(*GOOD, part("mask", MASK), part("mask", MASK)), 400, "invalid_multipart", None),
    "a field twice": (form(*GOOD, part("prompt", b"another")), 400, "duplicate_key", "prompt"),
    "a long text": (
        form(*GOOD, part("x", b"a" * (LONGEST_TEXT_BYTES + 1))),
        413,
        "request_too_large",
        None,
    ),
    "not UTF-8": (form(*GOOD, part("user", b"\xff")), 400, "invalid_encoding", "user"),
    "a NUL": (form(*GOOD, part("user", b"a\0b")), 400, "invalid_unicode", "user"),
    "no prompt": (form(*GOOD[1:]), 400, "missing_required_parameter", "prompt"),
    "no image": (form(*GOOD[:2]), 400, "missing_required_parameter", "image"),
    "an empty image": (form(*GOOD[:2], part("image", b"")), 400, "missing_required_parameter", "image"),
    "a mask alone": (form(*GOOD[:2], part("mask", MASK)), 400, "missing_required_parameter", "image"),
    "a wrong number": (form(*GOOD, part("n", b"two")), 400, "invalid_type", "n"),
    "n above ten": (form(*GOOD, part("n", b"11")), 400, "invalid_value", "n"),
    "a field that is refused": (form(*GOOD, part("api_base", b"x")), 400, "unknown_parameter", "api_base"),
}

WIDE = encoded("png", picture("RGBA", 512, 256))
PICTURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a PDF": ({"image": b"%PDF-1.7\n\x00\xff"}, "invalid_image", "image"),
    "a text": ({"image": b"a boat"}, "invalid_image", "image"),
    "half a PNG": ({"image": PNG[:-20]}, "invalid_image", "image"),
    "a bomb": ({"image": png_with(header(60_000, 60_000), PIXELS, END)}, "image_too_large", "image"),
    "a mask of another size": ({"mask": WIDE}, "invalid_image", "mask"),
    "a mask without alpha": ({"mask": PNG}, "invalid_image", "mask"),
    "a mask that is none": ({"mask": b"\x89PNG\r\n\x1a\nnonsense"}, "invalid_image", "mask"),
    "a file:": ({"image": b"file:///etc/passwd"}, "image_url_not_allowed", "image"),
    "a private URL": ({"image": b"http://127.0.0.1:80/"}, "image_url_not_allowed", "image"),
}

JSON: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_required_parameter", "image"),
    ({"images": []}, "missing_required_parameter", "image"),
    ({"image": ""}, "missing_required_parameter", "image"),
    ({"image": 4}, "invalid_type", "image"),
    ({"images": [{"image_url": data_url(PNG)}, {}]}, "invalid_type", "images[1]"),
    ({"images": [{"file_id": "file-1"}]}, "unsupported_value", "images[0]"),
    ({"image": "data:image/png,abc"}, "invalid_image", "image"),
    ({"image": "not base64!"}, "invalid_image", "image"),
    ({"image": "ftp://a.example/b.png"}, "image_url_not_allowed", "image"),
    ({"image": [data_url(PNG)] * 17}, "invalid_value", "image"),
    ({"image": [data_url(PNG), data_url(PNG[:-9])]}, "invalid_image", "images[1]"),
    ({"image": data_url(PNG), "mask": [data_url(MASK)] * 2}, "invalid_value", "mask"),
    ({"image": data_url(PNG), "mask": data_url(WIDE)}, "invalid_image", "mask"),
]


@pytest.mark.parametrize("name", FORMS)
async def test_a_form_that_is_wrong_is_refused(client: AsyncClient, account: Account, name: str) -> None:
    body, status, code, param = FORMS[name]

    response = await client.post(PATH, content=body, headers={"content-type": KIND})

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("name", PICTURES)
async def test_a_picture_that_is_none_is_named(client: AsyncClient, account: Account, name: str) -> None:
    change, code, param = PICTURES[name]

    response = await client.post(PATH, data=FIELDS, files={"image": PNG} | change)

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)
    assert "passwd" not in response.text
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(("change", "code", "param"), JSON)
async def test_json_that_is_wrong_is_refused(
    client: AsyncClient, account: Account, change: dict[str, Any], code: str, param: str
) -> None:
    response = await client.post(PATH, json=FIELDS | change)

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_both_sizes_are_told_when_mask_and_image_differ(client: AsyncClient) -> None:
    response = await client.post(PATH, data=FIELDS, files={"image": PNG, "mask": WIDE})

    assert "512x256" in response.json()["error"]["message"]
    assert "256x256" in response.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
async def test_other_content_types_are_refused(client: AsyncClient, kind: str) -> None:
    response = await client.post(PATH, content=b"prompt=a", headers={"content-type": kind})

    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'b' * 71}"])
async def test_a_form_needs_a_boundary(client: AsyncClient, boundary: str) -> None:
    headers = {"content-type": f"multipart/form-data{boundary}"}

    response = await client.post(PATH, content=form(*GOOD), headers=headers)

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_multipart")


async def test_a_form_without_a_key_is_refused_unread(client: AsyncClient) -> None:
    headers = {"content-type": KIND, "authorization": "Bearer sk-nonsense"}

    response = await client.post(PATH, content=form(*GOOD), headers=headers)

    assert response.status_code == 401


async def test_a_form_that_says_it_is_too_large_is_refused_unread(
    account: Account, base_url: str, settings: Settings
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url.rpartition(":")[2]))
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {account.key}\r\ncontent-type: {KIND}\r\n"
    )
    writer.write(f"{head}content-length: {settings.max_upload_bytes + 1}\r\n\r\n".encode())

    answer = await reader.readuntil(b"}}")

    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"request_too_large"' in answer


async def test_a_form_that_grows_too_large_is_refused(client: AsyncClient, settings: Settings) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for name in ("image", "image"):
            yield part(name, b"")[:-2]
            for _ in range(settings.max_upload_bytes // 2 // 2**20):
                yield b"a" * 2**20
            yield b"\r\n"
        yield b"a" * 2**20

    response = await client.post(PATH, content=pieces(), headers={"content-type": KIND})

    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


async def test_one_file_above_50_mb_is_refused_by_name(client: AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield part("image", b"")[:-2]
        for _ in range(51):
            yield b"a" * 2**20

    response = await client.post(PATH, content=pieces(), headers={"content-type": KIND})

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "image_too_large", "image")


async def test_a_form_that_does_not_arrive_in_time_is_refused(
    client: AsyncClient, services: Services, serve: Callable[[Services], Awaitable[str]]
) -> None:
    settings = services.settings.model_copy(update={"body_timeout_s": 0.2})
    url = await serve(replace(services, settings=settings))

    async def pieces() -> AsyncIterator[bytes]:
        yield form(*GOOD, end=b"")
        await asyncio.sleep(1)

    response = await client.post(f"{url}{PATH}", content=pieces(), headers={"content-type": KIND})

    assert (response.status_code, response.json()["error"]["code"]) == (408, "request_timeout")


async def test_an_upload_is_held_once(settings: Settings) -> None:
    """Twice while its buffer grows. The pieces are made one by one, so that they do not count."""
    size, piece = 10 * 2**20, 2**16
    parts = [part("image", b"")[:-2], *[None] * (size // piece), f"\r\n--{BOUNDARY}--\r\n".encode()]
    messages = iter(parts)

    async def receive() -> Message:
        body = next(messages)
        more = body is None or not body.endswith(b"--\r\n")
        return {"type": "http.request", "body": b"a" * piece if body is None else body, "more_body": more}

    scope = {"type": "http", "headers": [(b"content-type", KIND.encode())]}
    tracemalloc.start()
    try:
        read = await read_form(Request(scope, receive), settings, Load(settings), FILES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(read.files[0].data) == size
    assert peak < 2.2 * size
