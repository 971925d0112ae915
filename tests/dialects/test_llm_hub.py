"""LLM Hub's page is OpenAI's route by other models: its examples, its prices in euros, its links of an hour."""

import base64
import io
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from httpx import AsyncClient
from PIL import Image

from imagegate.catalogue.prices import PriceBook
from imagegate.catalogue.pricing import Terms, with_price
from imagegate.domain import Size
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider

PATH = "/v1/images/generations"
DALL_E = "openai/dall-e-3"
MOUNTAINS = {
    "model": "dall-e-3",
    "prompt": "A serene mountain landscape at sunset, digital art style",
    "size": "1024x1024",
    "quality": "hd",
    "n": 1,
}
BODY = {
    "model": "dall-e-3",
    "prompt": "A beautiful...",
    "n": 1,
    "size": "1024x1024",
    "quality": "standard",
    "style": "vivid",
    "response_format": "url",
}
ROBOT = {
    "model": "dall-e-3",
    "prompt": "A futuristic robot in a garden",
    "size": "1024x1024",
    "quality": "hd",
    "n": 1,
}
CITY = {
    "model": "flux-1.1-pro",
    "prompt": "Cyberpunk cityscape with neon lights and flying cars",
    "size": "1024x1024",
    "n": 1,
}
LIONS = {
    "model": "stable-diffusion-xl",
    "prompt": "A majestic lion in the savanna, photorealistic, 8k",
    "size": "1024x1024",
    "n": 4,
}
ABSTRACT = {
    "model": "dall-e-3",
    "prompt": "Abstract art with vibrant colors",
    "response_format": "b64_json",
    "size": "1024x1024",
}
SIZES = {
    "dall-e-3": ["1024x1024", "1024x1792", "1792x1024"],
    "dall-e-2": ["256x256", "512x512", "1024x1024"],
    "flux-1.1-pro": ["1024x1024", "1024x768", "768x1024"],
    "flux-dev": ["1024x1024", "1024x768"],
    "stable-diffusion-xl": ["1024x1024", "1152x896", "896x1152"],
    "ideogram-v2": ["1024x1024"],
}


@pytest.mark.parametrize(("body", "tokens"), [(MOUNTAINS, 80_000), (BODY, 40_000), (ROBOT, 80_000)])
async def test_the_examples_of_the_page_cost_what_its_table_says(
    client: AsyncClient, account: Account, fake: FakeProvider, body: dict[str, Any], tokens: int
) -> None:
    response = await client.post(PATH, json=body)

    told = response.json()
    assert response.status_code == 200, told
    assert isinstance(told["created"], int)
    assert (await client.get(told["data"][0]["url"])).headers["content-type"].startswith("image/")
    assert await account.balance() == (LIVE_TOKENS - tokens, 0)


@pytest.mark.parametrize("body", [CITY, LIONS])
async def test_the_examples_of_other_models_give_as_many_links(
    test_client: AsyncClient, body: dict[str, Any]
) -> None:
    response = await test_client.post(PATH, json=body)

    told = response.json()
    assert response.status_code == 200, told
    assert len({item["url"] for item in told["data"]}) == body["n"]
    assert told["size"] == body["size"]


async def test_base64_is_the_picture_itself(client: AsyncClient, fake: FakeProvider) -> None:
    told = (await client.post(PATH, json=ABSTRACT)).json()

    assert ["url" in item for item in told["data"]] == [False]
    assert Image.open(io.BytesIO(base64.b64decode(told["data"][0]["b64_json"]))).size == (1024, 1024)


@pytest.mark.parametrize(("model", "size"), [(m, size) for m, sizes in SIZES.items() for size in sizes])
async def test_every_model_of_its_table_takes_every_size(
    test_client: AsyncClient, model: str, size: str
) -> None:
    body = {"model": model, "prompt": "a heron", "size": size}

    told = (await test_client.post(PATH, params={"dryRun": "true"}, json=body)).json()

    assert (told["estimated"], told["size"]) == (True, size), told


async def test_a_model_that_draws_one_image_is_asked_for_each(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    told = (await client.post(PATH, json=BODY | {"n": 3})).json()

    assert len(told["data"]) == 3
    assert await account.balance() == (LIVE_TOKENS - 120_000, 0)


async def test_links_live_for_one_hour(client: AsyncClient, fake: FakeProvider) -> None:
    before = int(time.time())
    told = (await client.post(PATH, json=BODY)).json()

    ends = re.search(r"/media/(\d+)/", told["data"][0]["url"])
    assert ends is not None
    assert before + 3600 <= int(ends[1]) <= int(time.time()) + 3600


async def test_prices_are_told_live_by_model_size_and_quality_in_euros(
    services: Services, serve: Callable[[Services], Awaitable[str]]
) -> None:
    book, flux = PriceBook(services.prices.current), "black-forest-labs/flux-1.1-pro"
    euros = {"currency": "EUR", "currency_per_usd": Decimal("0.9")}
    url = await serve(replace(services, prices=book, settings=services.settings.model_copy(update=euros)))

    async with AsyncClient(base_url=url) as stranger:
        before = (await stranger.get("/v1/models")).json()
        dall_e = book.current[DALL_E]
        own = replace(dall_e, model=flux, version=1, terms=Terms({(Size(1024, 1024), None): 40_000}))
        dearer = replace(dall_e, terms=with_price(dall_e.terms, Size(1024, 1024), "high", 95_000))
        book.replace({**book.current, flux: own, DALL_E: dearer})
        after = (await stranger.get("/v1/models")).json()

    assert table(before, DALL_E)["1024x1024", "medium"] == 0.04
    assert table(before, DALL_E)["1024x1024", "high"] == 0.08
    assert table(after, DALL_E)["1024x1024", "high"] == 0.095
    assert table(after, flux) == {("1024x1024", None): 0.04}


def table(told: dict[str, Any], model: str) -> dict[tuple[str, str | None], float]:
    """Price by size and quality."""
    (found,) = [entry for entry in told["data"] if entry["id"] == model]
    assert found["pricing"]["currency"] == "EUR"
    return {(cell["size"], cell["quality"]): cell["price"] for cell in found["pricing"]["prices"]}
