"""Langbase's Images API: its page's example, its client's fields, its error shape."""

import base64
import io
from typing import Any

import pytest
from httpx import AsyncClient
from PIL import Image
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.ids import parse_public_id
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, open_account
from tests.fake_provider import KEY, FakeProvider
from tests.media.pictures import encoded, picture

PATH = "/v1/images"
EXAMPLE = {
    "prompt": "A futuristic cityscape with flying cars and neon lights",
    "model": "openai:gpt-image-1",
    "size": "1024x1024",
}
SANDBOX = {"prompt": "a heron", "model": "sandbox:sandbox", "size": "256x256"}


async def test_the_example_of_the_page_is_answered_as_a_chat_completion(
    client: AsyncClient, fake: FakeProvider
) -> None:
    response = await client.post(PATH, json=EXAMPLE)

    told = response.json()
    assert response.status_code == 200, told
    assert parse_public_id("gen", told["id"])
    assert (told["provider"], told["model"], told["object"]) == ("openai", "gpt-image-1", "chat.completion")
    assert isinstance(told["created"], int)
    (choice,) = told["choices"]
    (image,) = choice["message"].pop("images")
    assert choice == {
        "logprobs": None,
        "finish_reason": "stop",
        "native_finish_reason": "stop",
        "index": 0,
        "message": {"role": "assistant", "content": None},
    }
    assert (image["type"], image["index"]) == ("image_url", 0)
    assert (await client.get(image["image_url"]["url"])).headers["content-type"].startswith("image/")
    assert set(told["usage"]) == {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    }
    assert response.headers["x-imagegate-generation-id"] == told["id"]


def links(told: dict[str, Any]) -> list[str]:
    return [choice["message"]["images"][0]["image_url"]["url"] for choice in told["choices"]]


async def test_several_images_are_several_choices_of_the_size_that_was_asked_for(
    client: AsyncClient, account: Account
) -> None:
    said = {"prompt": "a heron", "model": "sandbox:sandbox", "width": 320, "height": 200, "n": 2, "steps": 4}

    told = (await client.post(PATH, json=said)).json()

    assert [choice["index"] for choice in told["choices"]] == [0, 1]
    drawn = [Image.open(io.BytesIO((await client.get(link)).content)) for link in links(told)]
    assert [image.size for image in drawn] == [(320, 200)] * 2
    assert told["provider"] == "sandbox"
    assert told["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0, "image_tokens": 0}
    assert (await account.balance())[0] < LIVE_TOKENS


async def test_usage_is_what_the_provider_counted(client: AsyncClient, fake: FakeProvider) -> None:
    plain = (await client.post("/v1/images/generations", json=EXAMPLE)).json()["usage"]

    told = (await client.post(PATH, json=EXAMPLE)).json()["usage"]

    assert plain["total_tokens"] > 0
    assert told["prompt_tokens"] == plain["input_tokens"]
    assert told["completion_tokens"] == plain["output_tokens"]
    assert told["total_tokens"] == plain["total_tokens"]
    assert told["completion_tokens_details"]["image_tokens"] == plain["output_tokens"]
    assert told["prompt_tokens_details"] == {"cached_tokens": 0}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai:gpt-image-1", "gpt-image-1"),
        ("together:black-forest-labs/FLUX.1-schnell-Free", "FLUX.1-schnell-Free"),
        ("google:gemini-2.5-flash-image-preview", "gemini-2.5-flash-image-preview"),
        ("openrouter:google/gemini-2.5-flash-image-preview", "gemini-2.5-flash-image-preview"),
    ],
)
async def test_every_model_of_the_page_is_known(test_client: AsyncClient, model: str, name: str) -> None:
    response = await test_client.post(PATH, json=EXAMPLE | {"model": model})

    assert response.status_code == 200, response.text
    assert response.json()["model"] == name


async def test_an_image_url_makes_it_an_edit(client: AsyncClient) -> None:
    red = encoded("png", picture("RGB", 256, 256))
    said = SANDBOX | {"image_url": "data:image/png;base64," + base64.b64encode(red).decode()}

    told = (await client.post(PATH, json=said)).json()

    drawn = Image.open(io.BytesIO((await client.get(links(told)[0])).content)).convert("RGB")
    at = drawn.getpixel((20, 20))
    assert isinstance(at, tuple)
    assert at[0] > at[1] + 40, "the sandbox lets the picture shine through"


async def test_further_fields_of_the_provider_pass_through_and_null_is_not_said(
    client: AsyncClient, fake: FakeProvider
) -> None:
    said = EXAMPLE | {"steps": None, "negative_prompt": "", "width": None, "image_url": ""}
    said |= {"safety_identifier": "a-hash", "style_preset": "neon", "quality": "low"}

    response = await client.post(PATH, json=said)

    assert response.status_code == 200, response.text
    sent, receipts = fake.requests[-1].body, response.json()["metadata"]["parameters"]
    assert sent["safety_identifier"] == "a-hash"
    assert receipts["safety_identifier"]["treatment"] == "passed"
    assert (sent["quality"], receipts["quality"]["treatment"]) == ("low", "passed")
    assert "style_preset" not in sent
    assert receipts["style_preset"]["treatment"] == "ignored"
    assert not {"steps", "negative_prompt"} & set(receipts)


async def test_an_estimate_holds_nothing(client: AsyncClient, account: Account) -> None:
    response = await client.post(f"{PATH}?dryRun=true", json=SANDBOX)

    told = response.json()
    assert (told["estimated"], told["hold_tokens"], told["provider"]) == (True, 5_000, "sandbox")
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_provider_key_of_the_caller_s_own_pays_at_the_provider(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    response = await client.post(PATH, json=EXAMPLE, headers={"LB-LLM-Key": KEY})
    refused = await client.post(PATH, json=EXAMPLE, headers={"LB-LLM-Key": "sk-mine"})

    assert response.status_code == 200, response.text
    assert response.json()["metadata"]["charged_tokens"] == 0
    assert await account.balance() == (LIVE_TOKENS, 0)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "provider_key_rejected")
    assert "sk-mine" not in refused.text
    assert (await client.post(PATH, json=SANDBOX, headers={"LB-LLM-Key": ""})).status_code == 200


async def test_a_provider_key_in_our_own_header_pays_at_the_provider(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    response = await client.post(PATH, json=EXAMPLE, headers={"x-provider-key": KEY})

    assert response.status_code == 200, response.text
    assert response.json()["metadata"]["charged_tokens"] == 0
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": None}, 400, "invalid_type", "model"),
        ({"prompt": ""}, 400, "invalid_value", "prompt"),
        ({"n": 0}, 400, "invalid_value", "n"),
        ({"n": 11}, 400, "invalid_value", "n"),
        ({"n": "2"}, 400, "invalid_type", "n"),
        ({"steps": 0}, 400, "invalid_value", "steps"),
        ({"size": "big"}, 400, "invalid_value", "size"),
        ({"width": 256}, 400, "invalid_value", "height"),
        ({"width": 512, "height": 512}, 400, "invalid_value", "size"),
        ({"api_base": "http://x"}, 400, "unknown_parameter", "api_base"),
        ({"image_url": "file:///etc/passwd"}, 400, "image_url_not_allowed", "image_url"),
        ({"model": "openai:no-such-model"}, 404, "model_not_found", "model"),
        ({"model": "nobody:gpt-image-1"}, 404, "model_not_found", "model"),
        ({"prompt": "[[garbage]]"}, 502, "all_providers_failed", None),
    ],
)
async def test_what_is_wrong_is_said_as_the_client_reads_it(
    client: AsyncClient, account: Account, change: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    response = await client.post(PATH, json=SANDBOX | change)

    error = response.json()["error"]
    assert response.status_code == error["status"] == status
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"]
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_an_empty_wallet_a_wrong_key_and_a_wrong_method_say_their_status(
    client: AsyncClient, services: Services, engine: AsyncEngine
) -> None:
    poor = await open_account(services, engine, live_tokens=0)

    empty = await client.post(PATH, json=SANDBOX, headers={"authorization": f"Bearer {poor.key}"})
    wrong = await client.post(PATH, json=SANDBOX, headers={"authorization": "Bearer igk_live_wrong"})
    get = await client.get(PATH)

    seen = [
        (r.status_code, r.json()["error"]["status"], r.json()["error"]["code"]) for r in (empty, wrong, get)
    ]
    assert seen == [
        (402, 402, "insufficient_quota"),
        (401, 401, "invalid_api_key"),
        (405, 405, "method_not_allowed"),
    ]


async def test_openai_s_routes_below_it_keep_openai_s_errors(client: AsyncClient) -> None:
    response = await client.post("/v1/images/generations", json={"prompt": ""})

    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_repetition_by_key_is_told_again_and_paid_once(client: AsyncClient, account: Account) -> None:
    headers = {"Idempotency-Key": "one"}

    told = [await client.post(PATH, json=SANDBOX, headers=headers) for _ in range(2)]

    assert told[0].json()["id"] == told[1].json()["id"]
    assert told[1].headers["idempotent-replayed"] == "true"
    assert await account.balance() == (LIVE_TOKENS - 5_000, 0)
