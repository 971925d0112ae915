"""Edits on the wire: as a form and as JSON, by hand and by the official client."""

import asyncio
import base64
import io
from typing import Any

import openai
import pytest
from httpx import AsyncClient
from PIL import Image

from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.media.pictures import encoded, picture

PATH = "/v1/images/edits"
FIELDS = {"prompt": "a boat", "model": "sandbox", "size": "256x256"}
PNG = encoded("png", picture("RGB", 256, 256))
MASK = encoded("png", picture("RGBA", 256, 256))


def data_url(data: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(data).decode()


def drawn(answer: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).convert("RGB")


def is_red(image: Image.Image) -> bool:
    """The upper left of the caller's picture, which every edit of the sandbox lets shine through."""
    red, green, blue = image.getpixel((20, 20))  # type: ignore[misc]
    return red > green + 40 and red > blue + 40


@pytest.mark.parametrize("part", ["image", "image[]", "image[0]", "image[7]"])
async def test_a_form_makes_an_edit(client: AsyncClient, account: Account, part: str) -> None:
    response = await client.post(PATH, data=FIELDS, files={part: ("a.bin", PNG, "text/plain")})

    assert response.status_code == 200, response.text
    assert is_red(drawn(response.json()))
    assert (await account.balance())[0] < LIVE_TOKENS


async def test_under_a_mask_only_what_is_transparent_is_redrawn(client: AsyncClient) -> None:
    files = {"image": PNG, "mask": MASK}

    response = await client.post(PATH, data=FIELDS, files=files)

    assert response.status_code == 200, response.text
    upper, original = (i.crop((0, 0, 256, 100)) for i in (drawn(response.json()), picture("RGB", 256, 256)))
    assert upper.tobytes() == original.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"images": [{"image_url": data_url(PNG)}]},
        {"images": [data_url(PNG)]},
        {"image": data_url(PNG)},
        {"image": [data_url(PNG, "data:;base64,")]},
        {"image[]": [base64.b64encode(PNG).decode()]},
        {"image": base64.urlsafe_b64encode(PNG).decode().rstrip("=")},
        {"image": base64.encodebytes(PNG).decode()},
        {"image_url": data_url(PNG)},
        {"input_references": [{"image_url": {"url": data_url(PNG)}}]},
    ],
)
async def test_json_makes_an_edit(client: AsyncClient, change: dict[str, Any]) -> None:
    response = await client.post(PATH, json=FIELDS | change)

    assert response.status_code == 200, response.text
    assert is_red(drawn(response.json()))


@pytest.mark.parametrize("mask", [data_url(MASK), {"image_url": data_url(MASK)}])
async def test_json_takes_a_mask(client: AsyncClient, mask: Any) -> None:
    body = FIELDS | {"images": [{"image_url": data_url(PNG)}], "mask": mask}

    response = await client.post(PATH, json=body)

    assert response.status_code == 200, response.text
    assert is_red(drawn(response.json()))


@pytest.mark.parametrize("change", [{"image_url": data_url(PNG)}, {"input_references": [data_url(PNG)]}])
async def test_a_generation_may_start_from_pictures(client: AsyncClient, change: dict[str, Any]) -> None:
    response = await client.post("/v1/images/generations", json=FIELDS | change)

    assert response.status_code == 200, response.text
    assert is_red(drawn(response.json()))


async def test_a_form_arrives_in_pieces_without_a_length_and_in_any_order(client: AsyncClient) -> None:
    built = client.build_request("POST", PATH, data=FIELDS, files={"image": ("a.png", PNG)})
    whole = built.read().replace(b'name="prompt"', b'name="prompt"; x=y')
    parts = whole.split(b"\r\n--" + built.headers["content-type"].split("=")[1].encode())
    turned = b"--%b" % built.headers["content-type"].split("=")[1].encode()
    first, *middle, end = [p.removeprefix(turned) for p in parts]
    body = b"".join(turned + part + b"\r\n" for part in (*middle[::-1], first)) + turned + end

    async def pieces() -> Any:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    headers = {"content-type": built.headers["content-type"]}
    response = await client.post(PATH, content=pieces(), headers=headers)

    assert response.status_code == 200, response.text
    assert is_red(drawn(response.json()))


async def test_what_a_form_says_in_text_is_read_as_what_it_means(client: AsyncClient) -> None:
    said = {"n": "2", "seed": "7", "strict": "1", "response_format": "url", "user": "", "quality": ""}

    response = await client.post(PATH, data=FIELDS | said, files={"image": PNG, "mask": b""})

    assert response.status_code == 200, response.text
    assert [set(item) for item in response.json()["data"]] == [{"url", "image_id"}] * 2
    kept = await client.get(f"/v1/images/generations/{response.json()['metadata']['id']}")
    assert kept.json()["metadata"]["parameters"]["seed"]["treatment"] == "passed"


async def test_n_of_zero_in_a_form_is_one_image(client: AsyncClient) -> None:
    response = await client.post(PATH, data=FIELDS | {"n": "0"}, files={"image": PNG})

    assert len(response.json()["data"]) == 1


async def test_an_idempotency_key_knows_the_pictures_by_their_bytes(
    client: AsyncClient, account: Account
) -> None:
    headers = {"idempotency-key": "edit-1"}
    other = encoded("png", picture("RGB", 256, 250))

    first = await client.post(PATH, data=FIELDS, files={"image": PNG}, headers=headers)
    again = await client.post(PATH, json=FIELDS | {"image": data_url(PNG)}, headers=headers)
    changed = await client.post(PATH, data=FIELDS, files={"image": other}, headers=headers)

    assert first.status_code == 200, first.text
    assert again.json()["data"][0]["b64_json"] == first.json()["data"][0]["b64_json"]
    assert again.headers["idempotent-replayed"] == "true"
    assert (changed.status_code, changed.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_a_dry_run_of_an_edit_costs_nothing(client: AsyncClient, account: Account) -> None:
    response = await client.post(f"{PATH}?dryRun=true", data=FIELDS, files={"image": PNG})

    assert response.json()["estimated"] is True
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_the_official_client_edits(account: Account, base_url: str) -> None:
    named = ("boat.png", PNG, "image/png")
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        common: dict[str, Any] = {"model": "sandbox", "prompt": "a boat", "size": "256x256"}
        replies = await asyncio.gather(
            client.images.edit(image=io.BytesIO(PNG), **common),
            client.images.edit(image=PNG, **common),
            client.images.edit(image=[PNG, io.BytesIO(PNG), named], n=1, **common),
            client.images.edit(image=named, mask=MASK, output_format="webp", **common),
        )

    images = [drawn(reply.model_dump()) for reply in replies]
    assert [image.size for image in images] == [(256, 256)] * 4
    assert all(is_red(image) for image in images)
    assert replies[3].output_format == "webp"


async def test_pictures_reach_a_provider_as_they_came_and_its_answer_comes_back(
    account: Account, base_url: str, fake: FakeProvider
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        reply = await client.images.edit(
            model="gpt-image-2", prompt="a boat", size="1024x1024", image=[PNG, PNG], mask=MASK, n=1
        )

    (sent,) = fake.requests
    assert fake.violations == []
    assert (sent.path, sent.body["prompt"]) == (PATH, "a boat")
    assert sent.files == [("image[]", PNG), ("image[]", PNG), ("mask", MASK)]
    assert drawn(reply.model_dump()).size == (1024, 1024)
    assert (await account.balance())[0] < LIVE_TOKENS


async def test_a_format_that_the_provider_does_not_read_is_converted(
    client: AsyncClient, fake: FakeProvider
) -> None:
    body = FIELDS | {"model": "gpt-image-2", "size": "1024x1024"}
    files = {
        "image": encoded("gif", picture("RGB", 256, 256)),
        "mask": encoded("webp", picture("RGBA", 256, 256)),
    }

    response = await client.post(PATH, data=body, files=files)

    assert response.status_code == 200, response.text
    assert fake.violations == []
    (_, image), (_, mask) = fake.requests[0].files
    assert is_red(Image.open(io.BytesIO(image)).convert("RGB"))
    assert Image.open(io.BytesIO(mask)).getpixel((20, 250))[3] == 0  # type: ignore[index]


async def test_openapi_tells_both_content_types(client: AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"][PATH]["post"]

    content = described["requestBody"]["content"]
    form, body = (content[kind]["schema"] for kind in ("multipart/form-data", "application/json"))
    assert form["required"] == ["prompt", "image"]
    assert form["properties"]["image"]["items"]["format"] == "binary"
    assert {"images", "image", "mask", "prompt", "quality"} <= body["properties"].keys()
    assert "$ref" not in str(content)
