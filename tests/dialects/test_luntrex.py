"""luntrex's route: its page's examples as they stand, its error shape, its table of prices."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status

PATHS = ("/api/v1/images/generate", "/v1/images/generate", "/images/generate")
PATH = PATHS[0]
CITY = {
    "prompt": "A futuristic cityscape at night, neon lights",
    "size": "1024x1024",
    "n": 1,
    "model": "openai/dall-e-2",
}
CABIN = {
    "prompt": "A cozy cabin in the snowy mountains, digital art",
    "size": "512x512",
    "n": 1,
    "model": "openai/dall-e-2",
}
EXAMPLES = [
    (CITY, 30_000),
    (CABIN, 15_000),
    (CITY | {"prompt": "An astronaut riding a horse on Mars"}, 30_000),
    (CABIN | {"prompt": "A dragon flying over a medieval castle"}, 15_000),
    (CABIN | {"prompt": "Landscape with mountains and rivers"}, 15_000),
]


@pytest.mark.parametrize(("body", "tokens"), EXAMPLES)
async def test_the_examples_of_the_page_give_links_and_what_they_cost(
    client: AsyncClient, account: Account, fake: FakeProvider, body: dict[str, Any], tokens: int
) -> None:
    response = await client.post(PATH, json=body)

    told = response.json()
    assert response.status_code == 200, told
    assert told["usage"] == {"cost_tokens": tokens, "n": 1, "size": body["size"]}
    assert told["balance_left"] == LIVE_TOKENS - tokens
    assert await account.balance() == (LIVE_TOKENS - tokens, 0)
    (link,) = told["images"]
    assert (await client.get(link)).headers["content-type"].startswith("image/")


async def test_the_smallest_size_costs_what_the_table_says(client: AsyncClient, fake: FakeProvider) -> None:
    response = await client.post(PATH, json=CITY | {"size": "256x256", "n": 2})

    assert response.json()["usage"] == {"cost_tokens": 10_000, "n": 2, "size": "256x256"}


@pytest.mark.parametrize("path", [*PATHS, "/api/v1//images/generate/"])
async def test_all_addresses_of_the_route_are_one(client: AsyncClient, path: str) -> None:
    response = await client.post(path, json={"prompt": "a heron", "model": "sandbox", "size": "256x256"})

    assert response.status_code == 200, response.text
    assert len(response.json()["images"]) == 1


async def test_without_a_model_the_gateway_chooses_one(test_client: AsyncClient) -> None:
    response = await test_client.post(PATH, json={"prompt": "a heron"})

    assert response.status_code == 200, response.text
    assert response.json()["metadata"]["model"] == "imagegate/sandbox"


async def test_what_became_of_every_parameter_is_told(test_client: AsyncClient) -> None:
    body = {"prompt": "a heron", "model": "sandbox", "seed": 7, "made_up": 1}

    told = (await test_client.post(PATH, json=body)).json()["metadata"]["parameters"]

    assert told["seed"]["treatment"] == "passed"
    assert told["made_up"]["treatment"] == "ignored"


@pytest.mark.parametrize("path", PATHS)
async def test_an_empty_wallet_is_a_403_in_the_words_of_the_page(
    services: Services, engine: AsyncEngine, base_url: str, path: str
) -> None:
    poor = await open_account(services, engine, live_tokens=0)

    async with AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {poor.key}"}) as http:
        response = await http.post(path, json=CITY)

    assert (response.status_code, response.json()) == (403, {"error": "Insufficient credits", "status": 403})
    assert response.headers["x-should-retry"] == "false"
    assert await poor.balance() == (0, 0)


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"prompt": None}, 400, "prompt"),
        ({"n": 11}, 400, "n:"),
        ({"n": True}, 400, "n:"),
        ({"size": "huge"}, 400, "size"),
        ({"model": "openai/no-such-model"}, 404, "model"),
        ({"api_key": "sk-mine"}, 400, "api_key"),
        ({"made_up": 1, "strict": True, "model": "sandbox"}, 400, "made_up"),
    ],
)
async def test_other_errors_say_their_status_twice(
    client: AsyncClient, account: Account, change: dict[str, Any], status: int, said: str
) -> None:
    response = await client.post(PATH, json=CITY | change)

    told = response.json()
    assert (response.status_code, told["status"], set(told)) == (status, status, {"error", "status"})
    assert said in told["error"]
    assert response.headers["x-request-id"] in told["error"]
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_wrong_key_a_wrong_method_and_a_broken_body_have_the_same_shape(
    client: AsyncClient, base_url: str
) -> None:
    async with AsyncClient(base_url=base_url) as stranger:
        answers = [
            await stranger.post(PATH, json=CITY),
            await stranger.post(PATH, json=CITY, headers={"authorization": "Bearer igk_live_nonsense"}),
            await client.get(PATH),
            await client.post(PATH, content=b"{", headers={"content-type": "application/json"}),
        ]

    assert [(a.status_code, a.json()["status"]) for a in answers] == [(s, s) for s in (401, 401, 405, 400)]
    assert all(set(a.json()) == {"error", "status"} for a in answers)


async def test_a_provider_in_trouble_costs_nothing(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    fake.default = Status(503)

    response = await client.post(PATH, json=CITY)

    assert response.status_code == response.json()["status"] == 502
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_dry_run_tells_the_price_and_makes_nothing(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    response = await client.post(PATH, params={"dryRun": "true"}, json=CITY)

    assert (response.json()["estimated"], response.json()["hold_tokens"]) == (True, 30_000)
    assert (len(fake.requests), await account.balance()) == (0, (LIVE_TOKENS, 0))


async def test_a_request_with_a_key_of_its_own_is_told_again_and_paid_once(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    headers = {"idempotency-key": str(uuid4())}

    first, again = [await client.post(PATH, json=CITY, headers=headers) for _ in range(2)]

    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["usage"] == first.json()["usage"]
    assert again.json()["balance_left"] == first.json()["balance_left"] == LIVE_TOKENS - 30_000
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - 30_000, 0))


async def test_a_taka_may_be_500_tokens(
    services: Services, serve: Callable[[Services], Awaitable[str]], account: Account, fake: FakeProvider
) -> None:
    taka = {"currency": "BDT", "currency_per_usd": Decimal(120), "tokens_per_currency_unit": 500}
    url = await serve(replace(services, settings=services.settings.model_copy(update=taka)))

    async with AsyncClient(base_url=url, headers={"authorization": f"Bearer {account.key}"}) as http:
        pricing = (await http.get("/api/v1/models/openai/dall-e-2")).json()["pricing"]
        told = (await http.post(PATH, json=CITY)).json()

    assert pricing["currency"] == "BDT"
    assert {cell["size"]: cell["price"] for cell in pricing["prices"]} == {
        "256x256": 10.0,
        "512x512": 30.0,
        "1024x1024": 60.0,
    }
    assert told["usage"]["cost_tokens"] == 30_000
