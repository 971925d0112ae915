"""Every way of saying what is wanted, through the front door: sizes, estimates, schemas, policies among models."""

from typing import Any

import pytest
from httpx import AsyncClient

from tests.conftest import Account

PATH = "/v1/images/generations"
TEST: dict[str, Any] = {"prompt": "A red fox in snow", "model": "openai/gpt-image-2.5-flare"}


async def estimate(client: AsyncClient, **said: Any) -> dict[str, Any]:
    response = await client.post(
        f"{PATH}?dryRun=true", json={"prompt": "A red fox", "model": "sandbox", **said}
    )
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.mark.parametrize(
    ("said", "size", "tokens"),
    [
        ({}, "1024x1024", 30_000),
        ({"size": "512x512", "n": 2}, "512x512", 30_000),
        ({"width": 256, "height": 256}, "256x256", 5_000),
        ({"size": "16:9"}, "1360x768", 29_883),
        ({"aspect_ratio": "1:1", "resolution": "2k"}, "2048x2048", 120_000),
        ({"size": "256x256", "aspect_ratio": "16:9"}, "256x256", 5_000),
    ],
)
async def test_an_estimate_tells_the_price_and_holds_nothing(
    client: AsyncClient, account: Account, said: dict[str, Any], size: str, tokens: int
) -> None:
    before = await account.balance()

    told = await estimate(client, **said)

    assert (told["estimated"], told["size"], told["hold_tokens"]) == (True, size, tokens)
    assert told["total_cost_micros"] == tokens
    (output,) = told["components"]
    assert output["quantity"] == said.get("n", 1)
    assert round(output["total_cost"] * 10**6) == tokens
    assert await account.balance() == before


async def test_an_estimate_costs_what_the_same_request_is_charged(client: AsyncClient) -> None:
    said = {"prompt": "A red fox", "model": "sandbox", "size": "640x480", "n": 3}

    told = (await client.post(f"{PATH}?dryRun=true", json=said)).json()
    made = (await client.post(PATH, json=said)).json()

    assert made["metadata"]["charged_tokens"] == told["hold_tokens"]
    assert made["metadata"]["price_version"] == told["price_version"]


async def test_an_estimate_stores_no_idempotency_key(client: AsyncClient) -> None:
    said, headers = {"prompt": "A fox", "model": "sandbox", "size": "256x256"}, {"Idempotency-Key": "one-1"}

    await client.post(f"{PATH}?dryRun=true", json=said, headers=headers)
    made = await client.post(PATH, json=said, headers=headers)

    assert made.status_code == 200
    assert "idempotent-replayed" not in made.headers


async def test_an_unreadable_flag_is_an_error(client: AsyncClient) -> None:
    response = await client.post(f"{PATH}?dryRun=maybe", json=TEST)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "dryRun"


@pytest.mark.parametrize(
    ("said", "param", "code"),
    [
        ({"width": 512}, "height", "invalid_value"),
        ({"size": "512x512", "width": 256, "height": 256}, "size", "invalid_value"),
        ({"size": "0:1"}, "size", "invalid_value"),
        ({"aspect_ratio": "wide"}, "aspect_ratio", "invalid_value"),
        ({"resolution": "9K"}, "resolution", "invalid_value"),
        ({"steps": 0}, "steps", "invalid_value"),
        ({"guidance": "7"}, "guidance", "invalid_type"),
        ({"thinking": "high", "reasoning_effort": "low"}, "reasoning_effort", "invalid_value"),
        ({"prompt_enhancement": "maybe"}, "prompt_enhancement", "invalid_value"),
        ({"routing": "random"}, "routing", "invalid_value"),
        ({"model": "auto:dearest"}, "model", "invalid_value"),
        ({"output_format": "tiff"}, "output_format", "invalid_value"),
        ({"size": "4096x4096", "resolution": "1K", "strict": True}, "resolution", "unsupported_value"),
        ({"size": "1000:1", "resolution": "4K"}, "size", "invalid_value"),
    ],
)
async def test_what_contradicts_itself_or_means_nothing_is_refused_by_name(
    client: AsyncClient, account: Account, said: dict[str, Any], param: str, code: str
) -> None:
    before = await account.balance()

    response = await client.post(PATH, json={"prompt": "A fox", "model": "sandbox", **said})

    assert response.status_code == 400, response.text
    assert (response.json()["error"]["param"], response.json()["error"]["code"]) == (param, code)
    assert await account.balance() == before


async def test_exact_pixels_come_out_and_their_native_neighbour_where_that_is_asked(
    client: AsyncClient,
) -> None:
    said = {"prompt": "A fox", "model": "sandbox", "size": "333x222", "response_format": "b64_json"}

    made = (await client.post(PATH, json=said)).json()

    assert made["size"] == "333x222"


async def test_a_schema_tells_type_limits_and_treatment_of_every_parameter(client: AsyncClient) -> None:
    response = await client.get("/v1/models/openai/gpt-image-2.5-flare?schema=true")

    told = response.json()["parameters"]
    assert told["prompt"]["maxLength"] == 32_000
    assert told["n"]["treatment"]
    assert told["quality"]["enum"] == ["auto", "low", "medium", "high", "xhigh", "max"]
    assert told["size"]["default"] == "1024x1024"
    assert told["image"]["max_items"] == 16
    assert set(told["output_format"]["enum"]) == {"png", "jpeg", "webp", "avif", "gif"}
    assert all("type" in of or "treatment" in of or "enum" in of for of in told.values())
    assert "parameters" not in (await client.get("/v1/models/openai/gpt-image-2.5-flare")).json()


@pytest.mark.parametrize("policy", ["cheapest", "best", "fastest", "balanced"])
async def test_a_policy_chooses_a_model_that_serves_the_request(
    client: AsyncClient, test_client: AsyncClient, policy: str
) -> None:
    said = {"prompt": "A fox", "model": f"auto:{policy}", "size": "1024x1024"}

    told = (await test_client.post(f"{PATH}?dryRun=true", json=said)).json()

    assert told["model"] != "imagegate/sandbox"
    if policy == "cheapest":
        others = [f"{name}" for name in ("openai/gpt-image-2.5-flare", "google/gemini-3.1-flash-image")]
        for other in others:
            its = (await test_client.post(f"{PATH}?dryRun=true", json={**said, "model": other})).json()
            assert told["hold_tokens"] <= its["hold_tokens"]


async def test_auto_alone_is_the_default_model(client: AsyncClient) -> None:
    for said in ({}, {"model": "auto"}, {"model": "auto:catalogue"}):
        told = (await client.post(f"{PATH}?dryRun=true", json={"prompt": "A fox", **said})).json()

        assert told["model"] == "imagegate/sandbox"


@pytest.mark.parametrize(
    ("model", "said", "param"),
    [
        ("gemini-3.1-flash-image", {"thinking": "xhigh"}, "thinking"),
        ("flux-1-schnell", {"image_url": "data:image/png;base64,iVBORw0KGgo="}, "image"),
        ("flux-kontext-pro", {"input_references": ["https://example.com/a.png"] * 5}, "image"),
    ],
)
async def test_a_test_key_promises_nothing_that_no_provider_of_the_model_can(
    test_client: AsyncClient, model: str, said: dict[str, Any], param: str
) -> None:
    response = await test_client.post(PATH, json={"prompt": "A fox", "model": model, **said})

    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
