"""The pictures of a request: read from text, fetched from afar, measured, and kept in the forms that are asked for."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from imagegate.domain import GenerationRequest, InputImage, Principal, Size
from imagegate.errors import InvalidRequest
from imagegate.generation.inputs import BOUNDS, Bounds, Forms, decode_base64, gather, read_image_text, summed
from imagegate.outbound import open_outbound
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.line.test_edits import FIELDS, MASK, PATH, PNG, drawn, is_red
from tests.media.pictures import FORMATS, encoded, picture
from tests.media.test_formats import END, PIXELS, header, png_with

WHO = Principal(uuid4(), "live", uuid4())

ALPHABET = bytes(range(256)) * 4
PICTURE = GenerationRequest("a boat", images=(InputImage(data=PNG),))


@pytest.fixture
async def abroad(opened: Services, fake: FakeProvider) -> AsyncIterator[Services]:
    """A gateway for which the fake's address counts as public."""
    async with open_outbound(allow_private_hosts=frozenset({f"127.0.0.1:{fake.port}"})) as outbound:
        yield replace(opened, outbound=outbound)


def asking(*images: InputImage, mask: InputImage | None = None) -> GenerationRequest:
    return replace(PICTURE, images=images, mask=mask)


async def refusal(
    services: Services, *images: InputImage, mask: InputImage | None = None, bounds: Bounds = BOUNDS
) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        await gather(services, WHO, asking(*images, mask=mask), bounds)
    assert refused.value.status == 400
    return refused.value


@pytest.mark.parametrize(
    "head", ["", "data:image/png;base64,", "data:;base64,", "DATA:image/PNG;x=y;BASE64,"]
)
@pytest.mark.parametrize(
    "change",
    [
        lambda b64: b64,
        lambda b64: b64.rstrip("="),
        lambda b64: b64.replace("+", "-").replace("/", "_"),
        lambda b64: "\n".join(b64[i : i + 76] for i in range(0, len(b64), 76)).replace("\n", "\r\n"),
        lambda b64: f"  {b64}\n",
    ],
    ids=["plain", "unpadded", "URL-safe", "in lines", "in blanks"],
)
@pytest.mark.parametrize("step", [4, 64, 1 << 20])
def test_base64_is_read_in_every_spelling(head: str, change: Callable[[str], str], step: int) -> None:
    text = head + change(base64.b64encode(ALPHABET).decode())

    assert read_image_text(text, "image") == InputImage(data=ALPHABET)
    assert decode_base64(text, len(head), "image", step) == ALPHABET


@pytest.mark.parametrize("url", ["http://a.example/b.png", "HTTPS://a.example/b?c=d", " https://a.example/ "])
def test_a_url_stays_a_url(url: str) -> None:
    assert read_image_text(url, "image") == InputImage(url=url.strip())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_image"),
        ("data:image/png;base64,", "invalid_image"),
        ("data:image/png,abc", "invalid_image"),
        ("data:" + "a" * 300 + ";base64,AAAA", "invalid_image"),
        ("A", "invalid_image"),
        ("AAAA=AAA", "invalid_image"),
        ("AA==AAAA", "invalid_image"),
        ("AAAA!AAA", "invalid_image"),
        ("ÄÖÜß", "invalid_image"),
        ("file:///etc/passwd", "image_url_not_allowed"),
        ("gopher://a.example", "image_url_not_allowed"),
        ("https://a.example/" + "a" * 9000, "image_url_not_allowed"),
    ],
)
def test_a_text_that_is_no_picture_is_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_image_text(text, "mask")

    assert (refused.value.code, refused.value.param) == (code, "mask")


@pytest.mark.parametrize("text", ["AA==AAAA", "AAAA AA== AAAA", "AAAAAAA=AAAA", "AAAAA"])
def test_base64_ends_with_its_padding(text: str) -> None:
    with pytest.raises(InvalidRequest, match="neither a URL nor base64"):
        decode_base64(text, 0, "image", step=4)


@pytest.mark.parametrize("format", FORMATS)
async def test_pictures_are_measured_whatever_they_are_called(opened: Services, format: str) -> None:
    data = encoded(format)

    request = await gather(opened, WHO, asking(InputImage(data=data), InputImage(data=PNG)))

    first = InputImage(data, format=format, size=Size(64, 40), sha256=hashlib.sha256(data).digest())
    assert request.images[0] == first
    assert request.images[1].size == Size(256, 256)


async def test_a_request_without_pictures_is_the_same_object(opened: Services) -> None:
    plain = GenerationRequest("a boat")

    assert await gather(opened, WHO, plain) is plain
    assert await summed(opened.pool, plain) is plain


async def test_checksums_are_those_of_the_bytes(opened: Services) -> None:
    request = await summed(opened.pool, asking(InputImage(data=PNG), InputImage(url="https://a.example")))

    assert [image.sha256 for image in request.images] == [hashlib.sha256(PNG).digest(), None]


async def test_urls_are_fetched_together_and_redirects_followed(abroad: Services, fake: FakeProvider) -> None:
    fake.pages["/moved"] = (302, {"location": "/pictures/64x64.jpeg"}, b"")
    urls = (f"{fake.origin}/moved", f"{fake.origin}/pictures/32x32.png")

    request = await gather(abroad, WHO, asking(*(InputImage(url=url) for url in urls)))

    assert [(i.format, i.size) for i in request.images] == [("jpeg", Size(64, 64)), ("png", Size(32, 32))]
    assert [image.url for image in request.images] == list(urls)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "http://localhost/a.png",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://user@8.8.8.8/",
        "http://8.8.8.8:22/",
        "http://",
    ],
)
async def test_every_forbidden_place_gets_one_text(abroad: Services, fake: FakeProvider, url: str) -> None:
    fake.pages["/away"] = (302, {"location": url}, b"")

    direct = await refusal(abroad, InputImage(url=url))
    by_redirect = await refusal(abroad, InputImage(url=f"{fake.origin}/away"))
    with pytest.raises(InvalidRequest) as local:
        read_image_text("file:///etc/passwd", "image")

    found = {(error.code, error.message, error.param) for error in (direct, by_redirect, local.value)}
    assert len(found) == 1
    assert direct.code == "image_url_not_allowed"


async def test_what_cannot_be_had_is_named_and_its_answer_not_shown(
    abroad: Services, fake: FakeProvider
) -> None:
    fake.pages["/broken"] = (500, {}, b"a secret of the address")
    fake.pages["/page"] = (200, {}, b"<html>a secret of the address</html>")

    gone = await refusal(abroad, InputImage(data=PNG), InputImage(url=f"{fake.origin}/gone"))
    broken = await refusal(abroad, InputImage(data=PNG), mask=InputImage(url=f"{fake.origin}/broken"))
    page = await refusal(abroad, InputImage(url=f"{fake.origin}/page"))

    errors = (gone, broken, page)
    assert [(e.code, e.param) for e in errors] == [
        ("invalid_image", "images[1]"),
        ("invalid_image", "mask"),
        ("invalid_image", "image"),
    ]
    assert not any("secret" in error.message or "500" in error.message for error in errors)


async def test_a_url_that_does_not_answer_in_time_is_named(
    abroad: Services,
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with open_outbound(allow_private_hosts=frozenset({place})) as outbound, server:
        services = replace(abroad, outbound=outbound)
        slow = (InputImage(data=PNG), InputImage(url=f"http://{place}/"))
        error = await refusal(services, *slow, bounds=Bounds(fetch_s=0.2))

    assert (error.code, error.param) == ("invalid_image", "images[1]")
    assert "0.2 s" in error.message


@pytest.mark.parametrize(("each", "together"), [(2000, 10_000), (10_000, 2500)])
async def test_what_is_fetched_has_room_each_and_together(
    abroad: Services, fake: FakeProvider, each: int, together: int
) -> None:
    bounds = Bounds(each_bytes=each, together_bytes=together)
    padded = encoded("png").ljust(1500, b"\0")
    fake.pages["/a"] = (200, {}, padded)
    fake.pages["/b"] = (200, {}, padded.ljust(2100, b"\0"))

    one, other = (InputImage(url=f"{fake.origin}/{name}") for name in "ab")

    assert (await gather(abroad, WHO, asking(one), bounds)).images[0].data == padded
    error = await refusal(abroad, one, other, bounds=bounds)

    assert error.code == "image_too_large"


async def test_pictures_have_room_together(opened: Services) -> None:
    bounds = Bounds(together_bytes=2 * len(PNG) - 1)

    error = await refusal(opened, InputImage(data=PNG), InputImage(data=PNG), bounds=bounds)

    assert (error.code, error.param) == ("image_too_large", "image")


async def test_a_bomb_is_refused_by_its_header(opened: Services) -> None:
    error = await refusal(
        opened, InputImage(data=PNG), InputImage(data=png_with(header(60_000, 60_000), PIXELS, END))
    )

    assert (error.code, error.param) == ("image_too_large", "images[1]")


async def test_sixteen_pictures_are_the_most(opened: Services) -> None:
    assert len((await gather(opened, WHO, asking(*[InputImage(data=PNG)] * 16))).images) == 16
    assert (await refusal(opened, *[InputImage(data=PNG)] * 17)).param == "image"


async def test_a_mask_needs_an_image(opened: Services) -> None:
    assert (await refusal(opened, mask=InputImage(data=MASK))).param == "image"


async def test_each_form_of_a_picture_is_made_once(opened: Services) -> None:
    gif = InputImage(data=encoded("gif", picture("RGB", 256, 256)))
    request = await gather(opened, WHO, asking(gif, InputImage(data=PNG), mask=InputImage(data=MASK)))
    forms = Forms(opened.pool, request)

    white, again, black = await asyncio.gather(forms.mask("white"), forms.mask("white"), forms.mask("black"))
    first, second = await asyncio.gather(forms.images(["png"]), forms.images(["png", "png"]))

    assert white is again is await forms.mask("white")
    assert white is not black
    assert await forms.mask("alpha") is request.mask
    assert [image.format for image in first] == ["png", "png"]
    assert first[0] is second[0]
    assert first[1] is request.images[1]
    assert await forms.images() == request.images


async def test_a_form_is_made_to_its_end_although_one_who_waited_is_cancelled(opened: Services) -> None:
    request = await gather(opened, WHO, asking(InputImage(data=PNG), mask=InputImage(data=MASK)))
    forms = Forms(opened.pool, request)

    left = asyncio.create_task(forms.mask("white"))
    await asyncio.sleep(0)
    left.cancel()

    assert (await forms.mask("white")) is not None
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_an_edit_of_a_picture_behind_a_url(
    abroad: Services, account: Account, fake: FakeProvider, serve: Callable[[Services], Awaitable[str]]
) -> None:
    fake.pages["/boat"] = (200, {}, PNG)
    url = await serve(abroad)

    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        body: dict[str, Any] = FIELDS | {"images": [{"image_url": f"{fake.origin}/boat"}]}
        response = await client.post(PATH, json=body)
        kept = await client.get(f"/v1/images/generations/{response.json()['metadata']['id']}")

    assert response.status_code == 200, response.text
    assert is_red(drawn(response.json()))
    assert kept.status_code == 200


async def test_a_forbidden_url_holds_nothing(client: AsyncClient, account: Account) -> None:
    response = await client.post(PATH, json=FIELDS | {"image": "http://169.254.169.254/latest"})

    assert response.json()["error"]["code"] == "image_url_not_allowed"
    assert await account.balance() == (LIVE_TOKENS, 0)
