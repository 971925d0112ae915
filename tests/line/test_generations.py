"""What a caller of POST /v1/images/generations gets, and what it costs."""

import asyncio
import base64
import hashlib
import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest
from httpx import AsyncClient
from PIL import Image
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, TEST_TOKENS, Account, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Wait

PATH = "/v1/images/generations"


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


async def test_a_picture_is_drawn_stored_linked_and_paid(client: AsyncClient, account: Account) -> None:
    response = await client.post(
        PATH, json={"prompt": "a cat on a roof", "model": "sandbox", "size": "512x512"}
    )

    body = response.json()
    assert response.status_code == 200
    data = base64.b64decode(body["data"][0]["b64_json"])
    assert opened(data).size == (512, 512)
    linked = await client.get(body["data"][0]["url"], headers={"authorization": ""})
    assert (linked.status_code, linked.headers["content-type"]) == (200, "image/png")
    assert linked.content == data
    assert body["metadata"]["charged_tokens"] == 15_000
    assert body["metadata"]["balance_tokens"] == LIVE_TOKENS - 15_000
    assert await account.balance() == (LIVE_TOKENS - 15_000, 0)


@pytest.mark.parametrize(
    ("model", "size", "quality", "tokens"),
    [
        ("dall-e-2", "256x256", None, 5_000),
        ("dall-e-2", "512x512", None, 15_000),
        ("openai/dall-e-2", "1024x1024", None, 30_000),
        ("sandbox", "256x256", None, 5_000),
        ("sandbox", "1024x1024", None, 30_000),
        ("sandbox", "2048x1024", None, 60_000),
        ("sandbox", "64x64", None, 5_000),
        ("dall-e-3", "1024x1024", None, 40_000),
        ("dall-e-3", "1024x1024", "hd", 80_000),
        ("dall-e-3", "1024x1792", "standard", 80_000),
        ("openai:dall-e-3", "1792x1024", "hd", 120_000),
        ("gpt-image-2.5-flare", "1024x1024", "low", 5_880),
        ("imagen-4.0-generate-001", "1024x1024", None, 67_000),
    ],
)
async def test_a_test_key_pays_the_real_price_out_of_its_test_wallet(
    test_client: AsyncClient, account: Account, model: str, size: str, quality: str | None, tokens: int
) -> None:
    body = {"prompt": "a hill", "model": model, "size": size, "response_format": "url"}

    response = await test_client.post(PATH, json=body | ({"quality": quality} if quality else {}))

    assert response.status_code == 200, response.text
    assert response.json()["metadata"]["charged_tokens"] == tokens
    assert response.json()["metadata"]["provider"] == "sandbox"
    assert response.json()["size"] == size
    assert await account.balance("test") == (TEST_TOKENS - tokens, 0)
    assert await account.balance("live") == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    ("model", "said", "keys"),
    [
        ("sandbox", None, {"url", "b64_json"}),
        ("sandbox", "url", {"url"}),
        ("sandbox", "b64_json", {"b64_json"}),
        ("gpt-image-2", None, {"b64_json"}),
        ("gpt-image-2", "url", {"url"}),
    ],
)
async def test_response_format_is_obeyed_and_has_a_default_by_model(
    test_client: AsyncClient, model: str, said: str | None, keys: set[str]
) -> None:
    body = {"prompt": "a hill", "model": model, "size": "256x256"} | (
        {"response_format": said} if said else {}
    )

    response = await test_client.post(PATH, json=body)

    assert set(response.json()["data"][0]) == keys | {"image_id"}


async def test_several_pictures_differ_and_cost_n_times(client: AsyncClient, account: Account) -> None:
    response = await client.post(
        PATH, json={"prompt": "three birds", "model": "sandbox", "n": 3, "size": "256x256"}
    )

    pictures = {entry["b64_json"] for entry in response.json()["data"]}
    assert len(pictures) == 3
    assert await account.balance() == (LIVE_TOKENS - 15_000, 0)


async def test_an_openai_model_is_drawn_upstream_and_its_bytes_are_kept(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    body = {
        "prompt": "a fox",
        "model": "gpt-image-2.5-flare",
        "quality": "low",
        "size": "1024x1024",
        "user": "u1",
    }

    response = await client.post(PATH, json=body)

    sent = fake.requests[0].body
    assert fake.violations == []
    assert (sent["model"], sent["quality"], sent["size"]) == ("gpt-image-2.5-flare", "low", "1024x1024")
    assert sent["safety_identifier"] not in ("u1", None)
    answer = response.json()
    assert answer["metadata"]["provider"] == "openai"
    assert answer["metadata"]["provenance"] == "as the provider made it"
    assert answer["metadata"]["parameters"]["user"]["treatment"] == "renamed"
    assert answer["usage"]["total_tokens"] > 0
    assert await account.balance() == (LIVE_TOKENS - 5_880, 0)


async def test_a_size_the_provider_lacks_is_drawn_near_and_fitted(
    client: AsyncClient, fake: FakeProvider
) -> None:
    body = {
        "prompt": "a fox",
        "model": "dall-e-3",
        "size": "300x200",
        "output_format": "webp",
        "style": "vivid",
    }

    response = await client.post(PATH, json=body)

    answer = response.json()
    picture = opened(base64.b64decode(answer["data"][0]["b64_json"]))
    assert (picture.size, picture.format) == ((300, 200), "WEBP")
    assert (answer["size"], answer["output_format"]) == ("300x200", "webp")
    treatments = {name: told["treatment"] for name, told in answer["metadata"]["parameters"].items()}
    assert treatments == {
        "model": "converted",
        "size": "emulated",
        "output_format": "passed",
        "style": "ignored",
    }
    assert fake.violations == []


async def test_an_old_word_for_a_quality_is_converted_and_says_so(test_client: AsyncClient) -> None:
    body = {"prompt": "a fox", "model": "dall-e-3", "quality": "hd", "response_format": "url"}

    answer = (await test_client.post(PATH, json=body)).json()

    assert answer["quality"] == "high"
    assert answer["metadata"]["parameters"]["quality"] == {"treatment": "converted", "detail": "hd → high"}


async def test_unknown_fields_are_reported_and_refused_in_strict_mode(
    client: AsyncClient, account: Account
) -> None:
    body = {"prompt": "a fox", "model": "sandbox", "size": "256x256", "sparkle": 3}

    loose = await client.post(PATH, json=body)
    strict = await client.post(PATH, json=body | {"strict": True})

    assert loose.json()["metadata"]["parameters"]["sparkle"]["treatment"] == "ignored"
    assert (strict.status_code, strict.json()["error"]["code"]) == (400, "unknown_parameter")
    assert strict.json()["error"]["param"] == "sparkle"
    assert await account.balance() == (LIVE_TOKENS - 5_000, 0)


async def test_a_wallet_with_room_for_three_pays_for_exactly_three(
    services: Services, engine: AsyncEngine, base_url: str
) -> None:
    poor = await open_account(services, engine, live_tokens=15_000)
    body = {"prompt": "[[slow:0.2]] a coin", "model": "sandbox", "size": "256x256", "response_format": "url"}

    async with AsyncClient(base_url=base_url, headers={"x-api-key": poor.key}, timeout=30) as http:
        answers = await asyncio.gather(*(http.post(PATH, json=body) for _ in range(50)))

    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(402)) == (3, 47)
    refused = next(answer for answer in answers if answer.status_code == 402).json()["error"]
    assert refused["code"] == "insufficient_quota"
    assert "5000 tokens" in refused["message"]
    assert "available are 0" in refused["message"]
    assert await poor.balance() == (0, 0)


async def test_two_images_of_four_cost_two(client: AsyncClient, account: Account) -> None:
    body = {"prompt": "[[partial:2]] four seasons", "model": "sandbox", "n": 4, "size": "256x256"}

    response = await client.post(PATH, json=body)

    assert response.status_code == 200
    assert len(response.json()["data"]) == 2
    assert response.headers["x-images-requested"] == "4"
    assert await account.balance() == (LIVE_TOKENS - 10_000, 0)


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ("[[fail:503]]", 502, "all_providers_failed"),
        ("[[fail:401]]", 502, "all_providers_failed"),
        ("[[fail:400]]", 400, "rejected_by_provider"),
        ("[[refuse]]", 400, "moderation_blocked"),
        ("[[empty]]", 502, "all_providers_failed"),
        ("[[garbage]]", 502, "all_providers_failed"),
        ("[[ambiguous]]", 504, "upstream_timeout"),
    ],
)
async def test_a_failed_generation_costs_nothing(
    client: AsyncClient, account: Account, script: str, status: int, code: str
) -> None:
    response = await client.post(
        PATH, json={"prompt": f"{script} a cat", "model": "sandbox", "size": "512x512"}
    )

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["x-should-retry"] == "false"
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_provider_that_hangs_is_ambiguous_at_the_deadline(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]]
) -> None:
    hasty = replace(services, settings=services.settings.model_copy(update={"deadline_s": 0.4}))

    async with AsyncClient(base_url=await serve(hasty), headers={"api-key": account.key}, timeout=30) as http:
        response = await http.post(PATH, json={"prompt": "[[hang]] a cat", "model": "sandbox"})

    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_caller_that_leaves_still_gets_its_picture_by_id(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    gate = asyncio.Event()
    fake.then(Wait(gate))
    body = {"prompt": "a swan", "model": "gpt-image-2.5-flare", "quality": "low", "size": "1024x1024"}

    asking = asyncio.create_task(client.post(PATH, json=body))
    async with asyncio.timeout(10):
        await fake.arrived(1)
        asking.cancel()
        gate.set()
        generation_id = await captured(engine, account)
    fetched = (await client.get(f"{PATH}/gen_{generation_id.hex}")).json()

    assert (fetched["status"], fetched["charged_tokens"]) == ("completed", 5_880)
    assert opened((await client.get(fetched["data"][0]["url"])).content).size == (1024, 1024)
    assert await account.balance() == (LIVE_TOKENS - 5_880, 0)


async def captured(engine: AsyncEngine, account: Account) -> UUID:
    """Wait until the account's one generation is captured."""
    query = text("SELECT id FROM generations WHERE account_id = :account AND state = 'captured'")
    while True:
        async with engine.connect() as connection:
            found = (await connection.execute(query, {"account": account.id})).scalar_one_or_none()
        if isinstance(found, UUID):
            return found
        await asyncio.sleep(0)


async def test_a_generation_is_fetched_by_its_own_account_and_environment_alone(
    client: AsyncClient, test_client: AsyncClient, services: Services, engine: AsyncEngine
) -> None:
    made = await client.post(PATH, json={"prompt": "a secret", "model": "sandbox", "size": "256x256"})
    path = f"{PATH}/{made.json()['metadata']['id']}"
    stranger = await open_account(services, engine)

    own = await client.get(path)
    other_env = await test_client.get(path)
    foreign = await client.get(path, headers={"authorization": f"Bearer {stranger.key}"})

    assert (own.status_code, own.json()["data"][0].keys()) == (200, {"url", "image_id"})
    assert [other_env.status_code, foreign.status_code] == [404, 404]


async def test_the_store_keeps_exactly_the_bytes_that_were_paid(
    client: AsyncClient, engine: AsyncEngine
) -> None:
    made = await client.post(PATH, json={"prompt": "a seal", "model": "sandbox", "size": "256x256"})

    data = base64.b64decode(made.json()["data"][0]["b64_json"])
    async with engine.connect() as connection:
        query = text("SELECT sha256, bytes FROM images WHERE generation_id = :id")
        row = (await connection.execute(query, {"id": made.json()["metadata"]["id"][4:]})).one()
    assert (row.sha256, row.bytes) == (hashlib.sha256(data).digest(), len(data))
