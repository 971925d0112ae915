"""Previews in an operator's reckonings: the bill of one generation, and what the last days would have cost."""

from dataclasses import replace

from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin.price_preview import preview
from imagegate.admin.price_tools import propose
from imagegate.catalogue.prices import load
from imagegate.services import Services
from tests.fake_events import Events
from tests.fake_provider import FakeProvider

PATH = "/v1/images/generations"
MODEL = "openai/gpt-image-2.5-sunburst"
BODY = {"prompt": "a heron", "model": MODEL, "size": "1024x1024", "quality": "low", "stream": True}


async def test_a_bill_has_the_previews_that_were_held_for_and_those_that_came(
    client: AsyncClient, admin: AsyncClient, fake: FakeProvider
) -> None:
    fake.then(Events(previews=1), Events(previews=2))

    response = await client.post(PATH, json=BODY | {"n": 2, "partial_images": 3})

    named = response.headers["x-imagegate-generation-id"]
    lines = (await admin.get(f"/generations/{named}")).json()["bill"]["lines"]
    assert lines == [
        {"says": "one image of 1024x1024, quality low, priced by the image", "tokens": "5880"},
        {"says": "asked for: 2 × 5880", "tokens": "11760"},
        {"says": "previews: 6 × 3000 at most", "tokens": "18000"},
        {"says": "held", "tokens": "29760"},
        {"says": "delivered: 2 × 5880 and 3 previews × 3000", "tokens": "20760"},
        {"says": "charged", "tokens": "20760"},
    ]


async def test_other_prices_are_reckoned_with_the_previews_that_came(
    client: AsyncClient, services: Services, engine: AsyncEngine, fake: FakeProvider
) -> None:
    async def would_cost() -> int:
        async with engine.connect() as connection:
            prices = await load(connection)
            terms = prices[MODEL].terms
            assert terms is not None
            dearer = replace(terms, per_partial=4_000)
            found = await preview(connection, services.catalogue, prices, propose(prices, {MODEL: dearer}))
        return sum(line.would_cost_tokens - line.charged_tokens for line in found.lines)

    before = await would_cost()
    await client.post(PATH, json=BODY | {"partial_images": 2})

    assert await would_cost() - before == 2 * 1_000
