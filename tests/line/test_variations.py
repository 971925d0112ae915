"""Variations: emulated by an edit on a configured model, by hand and by the official client."""

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import openai
import pytest
from httpx import AsyncClient
from PIL import Image

from imagegate.generation.varying import PROMPT
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.media.pictures import encoded, picture

PATH = "/v1/images/variations"
PNG = encoded("png", picture("RGB", 256, 256))
SANDBOX = {"model": "sandbox", "size": "256x256"}


def size_of(answer: dict[str, Any]) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).size


async def test_a_variation_is_an_edit_on_the_configured_model(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    response = await client.post(PATH, data={"size": "512x512"}, files={"image": PNG})

    assert response.status_code == 200, response.text
    (sent,) = fake.requests
    assert fake.violations == []
    assert (sent.path, sent.body["prompt"]) == ("/v1/images/edits", PROMPT)
    assert (sent.body["model"], sent.files) == ("gpt-image-2.5-flare", [("image", PNG)])
    told = response.json()
    assert size_of(told) == (512, 512)
    assert told["metadata"]["model"] == "openai/gpt-image-2.5-flare"
    assert told["metadata"]["parameters"]["variation"] == {
        "treatment": "emulated",
        "detail": "an edit with a fixed prompt",
    }
    assert await account.balance() == (LIVE_TOKENS - told["metadata"]["charged_tokens"], 0)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's own word of this method
async def test_the_official_client_makes_variations(account: Account, base_url: str) -> None:
    def draw() -> openai.types.ImagesResponse:
        with openai.OpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
            return client.images.create_variation(image=io.BytesIO(PNG), n=2, **SANDBOX)

    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        linked = await client.images.create_variation(
            image=PNG, model="sandbox", size="256x256", response_format="url", user="me"
        )
    several = await asyncio.to_thread(draw)

    assert linked.data[0].b64_json is None
    assert linked.data[0].url
    assert len({item.b64_json for item in several.data}) == 2


async def test_a_named_model_that_can_edit_is_kept(client: AsyncClient, fake: FakeProvider) -> None:
    body = {"model": "dall-e-2", "size": "1024x1024"}

    response = await client.post(PATH, data=body, files={"image": PNG})

    assert response.json()["metadata"]["model"] == "openai/dall-e-2"
    assert "cannot edit" not in str(response.json()["metadata"]["parameters"])


async def test_a_named_model_that_cannot_edit_gives_way_with_a_receipt(
    client: AsyncClient, fake: FakeProvider
) -> None:
    body = {"model": "dall-e-3", "size": "1024x1024"}

    response = await client.post(PATH, data=body, files={"image": PNG})
    strict = await client.post(PATH, data=body | {"strict": "true"}, files={"image": PNG})

    told = response.json()["metadata"]
    assert told["model"] == "openai/gpt-image-2.5-flare"
    assert told["parameters"]["model"] == {
        "treatment": "converted",
        "detail": "openai/dall-e-3 cannot edit → openai/gpt-image-2.5-flare",
    }
    assert (strict.status_code, strict.json()["error"]["param"]) == (400, "model")


async def test_an_operator_chooses_the_model_of_variations(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]]
) -> None:
    settings = services.settings.model_copy(update={"variations_model": "sandbox"})
    url = await serve(replace(services, settings=settings))

    async with AsyncClient(base_url=url, headers={"x-api-key": account.key}) as http:
        response = await http.post(PATH, data={"size": "256x256"}, files={"image": PNG})

    assert response.json()["metadata"]["model"] == "imagegate/sandbox"
    assert "model" not in response.json()["metadata"]["parameters"]


async def test_json_and_a_prompt_of_the_caller_s_own_are_taken(
    client: AsyncClient, fake: FakeProvider
) -> None:
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    body = {"image": url, "prompt": "the same at night", "size": "1024x1024", "model": "gpt-image-2"}

    response = await client.post(PATH, json=body)

    assert response.status_code == 200, response.text
    assert fake.requests[0].body["prompt"] == "the same at night"
    assert "caller's prompt" in response.json()["metadata"]["parameters"]["variation"]["detail"]


async def test_a_repetition_with_a_key_is_the_same_variation(client: AsyncClient, account: Account) -> None:
    headers = {"idempotency-key": "variation-1"}

    first, again = [
        await client.post(PATH, data=SANDBOX, files={"image": PNG}, headers=headers) for _ in range(2)
    ]

    assert first.json()["data"][0]["b64_json"] == again.json()["data"][0]["b64_json"]
    assert again.headers["idempotent-replayed"] == "true"
    charged = first.json()["metadata"]["charged_tokens"]
    assert await account.balance() == (LIVE_TOKENS - charged, 0)


@pytest.mark.parametrize(
    ("fields", "files", "status", "code", "param"),
    [
        ({}, {}, 400, "missing_required_parameter", "image"),
        ({}, [("image[]", PNG), ("image[]", PNG)], 400, "invalid_value", "image"),
        ({}, {"image": PNG, "mask": PNG}, 400, "unsupported_value", "mask"),
        ({}, {"image": b"no picture \xff" * 9}, 400, "invalid_image", "image"),
        ({"n": "11"}, {"image": PNG}, 400, "invalid_value", "n"),
        ({"model": "dall-e-4"}, {"image": PNG}, 404, "model_not_found", "model"),
    ],
)
async def test_what_is_no_variation_is_refused(
    client: AsyncClient, account: Account, fields: Any, files: Any, status: int, code: str, param: str
) -> None:
    response = await client.post(PATH, data={"user": "me", **fields}, files=files or {"other": (None, "x")})

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_dry_run_of_a_variation_is_an_estimate(client: AsyncClient) -> None:
    response = await client.post(f"{PATH}?dryRun=true", data=SANDBOX, files={"image": PNG})

    assert response.json()["estimated"] is True
    assert response.json()["model"] == "imagegate/sandbox"
