"""Pictures that are something else, damaged, or made to hurt: a picture or a clear refusal, and never a bug."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from httpx import AsyncClient, Response

from tests.conftest import LIVE_TOKENS, Account
from tests.line.test_edits import FIELDS, PATH, PNG, data_url
from tests.media import bombs
from tests.media.pictures import FORMATS, encoded, picture

CASES = 20
AT_ONCE = 8
SMALL = FIELDS | {"size": "64x64"}
STRANGERS, POLYGLOTS, TOO_LARGE, SWELLING = (
    bombs.strangers(),
    bombs.polyglots(),
    bombs.too_large(),
    bombs.swelling(),
)


def fault(response: Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"], error["param"]


@pytest.mark.parametrize("name", STRANGERS)
async def test_what_is_no_picture_of_the_five_formats_is_refused(
    client: AsyncClient, account: Account, name: str
) -> None:
    files: Any = {"image": ("boat.png", STRANGERS[name], "image/png")}

    by_form = await client.post(PATH, data=SMALL, files=files)
    by_json = await client.post(PATH, json=SMALL | {"image": data_url(STRANGERS[name])})

    assert fault(by_form) == fault(by_json) == (400, "invalid_image", "image")
    assert "passwd" not in by_form.text + by_json.text
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("name", POLYGLOTS)
async def test_a_picture_that_is_something_else_as_well_is_only_a_picture(
    client: AsyncClient, name: str
) -> None:
    response = await client.post(
        PATH, data=SMALL, files={"image": ("boat.html", POLYGLOTS[name], "text/html")}
    )

    assert response.status_code == 200, response.text
    assert "script" not in response.text


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_what_is_too_large_is_refused_before_it_is_decoded(
    client: AsyncClient, account: Account, name: str
) -> None:
    response = await client.post(PATH, data=SMALL, files={"image": TOO_LARGE[name]})

    assert fault(response) == (400, "image_too_large", "image")
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_forty_megapixels_are_taken_and_drawn_over(client: AsyncClient) -> None:
    whole = bombs.png(8000, 5000, bits=1, colour=0)

    response = await client.post(PATH, data=SMALL, files={"image": whole})

    assert response.status_code == 200, response.text


@pytest.mark.parametrize("part", ["image", "mask"])
async def test_what_swells_ends_in_a_picture_or_a_refusal(
    client: AsyncClient, account: Account, part: str
) -> None:
    first = encoded("png", picture("RGB", 64, 64))
    answers = [
        await client.post(PATH, data=SMALL, files={"image": first} | {part: data})
        for data in SWELLING.values()
    ]

    for name, response in zip(SWELLING, answers, strict=True):
        assert response.status_code == 200 or fault(response) == (400, "invalid_image", part), name
    assert {response.status_code for response in answers} == ({200, 400} if part == "image" else {400})
    assert (await account.balance())[1] == 0


def damaged(format: str) -> list[bytes]:
    """A file cut off and altered at places that the seed chooses."""
    whole, dice = encoded(format, picture("RGB" if format == "jpeg" else "RGBA")), Random(f"{format} 5")
    made = [whole[: dice.randrange(1, len(whole))] for _ in range(CASES)]
    for _ in range(CASES):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 1, 3, 30))):
            data[dice.randrange(12 if dice.random() < 0.8 else 0, len(data))] = dice.randrange(256)
        made.append(bytes(data))
    return made


@pytest.mark.parametrize("part", ["image", "mask"])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_damaged_picture_ends_in_a_picture_or_a_refusal(
    client: AsyncClient, account: Account, format: str, part: str
) -> None:
    first = encoded("png", picture("RGB"))
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(data: bytes) -> Response:
        async with turns:
            return await client.post(PATH, data=SMALL, files={"image": first} | {part: data})

    answers = await asyncio.gather(*map(ask, damaged(format)))

    ends: Counter[Any] = Counter(200 if r.status_code == 200 else fault(r)[:2] for r in answers)
    assert set(ends) <= {200, (400, "invalid_image"), (400, "image_too_large")}, ends
    assert ends[400, "invalid_image"] >= CASES
    assert sum(ends.values()) == 2 * CASES
    assert (await account.balance())[1] == 0


MASKS = {
    "of another size": (encoded("png", picture("RGBA", 128, 256)), "128x256"),
    "without an alpha channel": (encoded("png", picture("RGB", 256, 256)), "alpha channel"),
    "as JPEG": (encoded("jpeg", picture("RGB", 256, 256)), "alpha channel"),
    "as GIF without transparency": (encoded("gif", picture("RGB", 256, 256)), "alpha channel"),
    "as BMP": (encoded("bmp", picture("RGB", 256, 256)), "is not a PNG"),
    "of another shape, turned": (encoded("png", picture("RGBA", 256, 255)), "256x255"),
}


@pytest.mark.parametrize("name", MASKS)
async def test_a_mask_that_does_not_fit_is_named_with_the_reason(
    client: AsyncClient, account: Account, name: str
) -> None:
    mask, reason = MASKS[name]

    by_form = await client.post(PATH, data=FIELDS, files={"image": PNG, "mask": mask})
    by_json = await client.post(PATH, json=FIELDS | {"image": data_url(PNG), "mask": data_url(mask)})

    assert fault(by_form) == fault(by_json) == (400, "invalid_image", "mask")
    assert reason in by_form.json()["error"]["message"]
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("format", ["webp", "avif", "gif"])
async def test_a_mask_of_another_format_that_has_transparency_is_taken(
    client: AsyncClient, format: str
) -> None:
    mask = encoded(format, picture("RGBA", 256, 256))

    response = await client.post(PATH, data=FIELDS, files={"image": PNG, "mask": mask})

    assert response.status_code == 200, response.text
