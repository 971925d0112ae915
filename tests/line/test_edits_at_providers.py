"""Edits through the public door to providers with a wire of their own: pictures, masks, thinking, one image a call."""

import base64
from collections.abc import AsyncIterator
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from httpx import AsyncClient
from PIL import Image
from pydantic import SecretStr

from imagegate.services import Services, open_services
from imagegate.settings import ProviderSettings
from tests.conftest import Account, listening
from tests.fake_verbs import picture as drawing
from tests.media.pictures import encoded, picture
from tests.providers.wire_play import Reply, Stage

PATH = "/v1/images/edits"
PICTURE, MASK, FILM = (
    encoded("png", picture("RGB", 320, 256)),
    encoded("png", picture("RGBA", 320, 256)),
    encoded("gif", picture("RGB", 320, 256)),
)
DRAWN = base64.b64encode(drawing("1024x1024", "png")).decode()
PROVIDERS = ("recraft", "google", "xai", "together")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage() as stage:
        yield stage


@pytest.fixture
async def editor(services: Services, account: Account, stage: Stage) -> AsyncIterator[AsyncClient]:
    """Speaks to a gateway whose providers are all played by `stage`."""
    place = ProviderSettings(stage.base_url, SecretStr("k"))
    changed = services.settings.model_copy(update={"providers": dict.fromkeys(PROVIDERS, place)})
    headers = {"authorization": f"Bearer {account.key}"}
    async with (
        open_services(changed) as opened,
        listening(opened) as url,
        AsyncClient(base_url=url, headers=headers, timeout=30) as http,
    ):
        yield http


def answered(stage: Stage, body: dict[str, Any]) -> None:
    stage.default = Reply({"status": 200, "json": body})


def sent(stage: Stage) -> tuple[str, dict[str, Any]]:
    [request] = stage.requests
    return request.path, request.body


def shown(data_url: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(data_url.partition(",")[2])))


async def test_a_masked_edit_reaches_recraft_with_what_was_transparent_in_white(
    editor: AsyncClient, stage: Stage
) -> None:
    answered(stage, {"created": 1, "credits": 40, "data": [{"b64_json": DRAWN}]})
    fields = {"prompt": "a boat", "model": "recraftv3", "seed": "7", "controls": '{"no_text": true}'}

    response = await editor.post(PATH, data=fields, files={"image": PICTURE, "mask": MASK})

    assert response.status_code == 200, response.text
    path, body = sent(stage)
    mask = shown(body["mask_url"])
    assert path == "/v1/images/inpaint"
    assert (mask.mode, mask.size) == ("L", (320, 256))
    assert (mask.getpixel((5, 5)), mask.getpixel((5, 250))) == (0, 255)
    assert shown(body["image_url"]).size == (320, 256)
    assert body["random_seed"] == 7
    assert Decimal(response.json()["metadata"]["cost"]) > 0


async def test_expansion_makes_an_outpaint_of_it(editor: AsyncClient, stage: Stage) -> None:
    answered(stage, {"created": 1, "credits": 40, "data": [{"b64_json": DRAWN}]})
    image = "data:image/png;base64," + base64.b64encode(PICTURE).decode()

    response = await editor.post(
        PATH, json={"prompt": "more sky", "model": "recraftv3", "image": image, "expand_top": 128}
    )

    assert response.status_code == 200, response.text
    path, body = sent(stage)
    assert (path, body["expand_top"]) == ("/v1/images/outpaint", 128)


async def test_two_pictures_reach_google_in_formats_it_reads_and_a_word_for_thinking(
    editor: AsyncClient, stage: Stage
) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": DRAWN}}
    answered(stage, {"candidates": [{"finishReason": "STOP", "content": {"parts": [part]}}]})
    fields = {"prompt": "both", "model": "gemini-nano-banana-2.1", "thinking": "high", "quality": "low"}

    response = await editor.post(
        PATH, data=fields, files=[("image[]", ("a.png", PICTURE)), ("image[]", ("b.gif", FILM))]
    )

    assert response.status_code == 200, response.text
    path, body = sent(stage)
    parts = body["contents"][0]["parts"]
    assert path == "/v1/models/gemini-nano-banana-2.1:generateContent"
    assert parts[0] == {"text": "both"}
    assert parts[1]["inlineData"]["mimeType"] == "image/png"
    assert parts[2]["inlineData"]["mimeType"] in ("image/png", "image/jpeg", "image/webp")
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "HIGH"}


async def test_xai_is_asked_for_the_images_of_an_edit_one_at_a_time(
    editor: AsyncClient, stage: Stage
) -> None:
    answered(stage, {"data": [{"b64_json": DRAWN, "respect_moderation": True}]})
    fields = {"prompt": "night", "model": "grok-imagine-image-2.0", "n": "2"}

    response = await editor.post(PATH, data=fields, files={"image": PICTURE})

    assert response.status_code == 200, response.text
    assert len(response.json()["data"]) == 2
    assert [request.path for request in stage.requests] == ["/v1/images/edits"] * 2
    assert all(shown(request.body["image"]["url"]).size == (320, 256) for request in stage.requests)


async def test_together_gets_a_picture_by_reference(editor: AsyncClient, stage: Stage) -> None:
    answered(stage, {"id": "t-1", "data": [{"b64_json": DRAWN}]})
    fields = {
        "prompt": "night",
        "model": "together:black-forest-labs/FLUX.2-pro",
        "prompt_enhancement": "off",
    }

    response = await editor.post(PATH, data=fields, files={"image": PICTURE})

    assert response.status_code == 200, response.text
    path, body = sent(stage)
    assert path == "/v1/images/generations"
    assert [shown(link).size for link in body["reference_images"]] == [(320, 256)]
    assert body["prompt_upsampling"] is False
