"""Prices that go by what the provider counted: held at the most, captured by the count, never above the hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import price_tools
from imagegate.catalogue import prices
from imagegate.catalogue.terms import PerToken
from imagegate.domain import UsageRates
from imagegate.identity.audit import Actor
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider

PATH = "/v1/images/generations"
MODEL = "openai/gpt-image-2.5-flare"
BODY = {"prompt": "a fox that is weighed", "model": MODEL, "size": "1024x1024", "quality": "low"}
READ, DRAWN = 12, 1756
"""What the fake provider counts for one image."""


@asynccontextmanager
async def priced_by_usage(services: Services, output_bound: int) -> AsyncIterator[None]:
    """1 token of ours for one that is read, 2 for one that is drawn."""
    before = services.prices.current[MODEL]
    usage = PerToken(
        UsageRates(1_000_000, 1_000_000, 2_000_000), {(None, None): output_bound}, prompt_bound=100
    )
    async with services.engine.begin() as tx:
        proposal = price_tools.propose_usage(services.prices.current, services.catalogue, MODEL, usage)
        why = Actor("tests", "by usage")
        await price_tools.publish(tx, services.catalogue, services.credentials, proposal, why)
    await until_changed(services, before.version)
    try:
        yield
    finally:
        last = services.prices.current[MODEL].version
        async with services.engine.begin() as tx:
            await prices.bump_version(tx, "prices")
            await prices.append(tx, {MODEL: before.terms}, prices.Note(reason="as it was", actor="tests"))
        await until_changed(services, last)


async def until_changed(services: Services, version: int) -> None:
    async with asyncio.timeout(10):
        while services.prices.current[MODEL].version == version:
            await asyncio.sleep(0.02)


async def test_a_capture_goes_by_what_was_counted(
    services: Services, client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    async with priced_by_usage(services, output_bound=5000):
        response = await client.post(PATH, json=BODY)

    metadata = response.json()["metadata"]
    assert metadata["charged_tokens"] == READ + 2 * DRAWN
    assert metadata["attempts"][0]["cost_usd"] > 0
    assert await account.balance() == (LIVE_TOKENS - READ - 2 * DRAWN, 0)
    async with engine.connect() as connection:
        query = text("SELECT hold_tokens, billed ->> 'unit' AS unit FROM generations WHERE account_id = :id")
        row = (await connection.execute(query, {"id": account.id})).one()
    assert (row.hold_tokens, row.unit) == (100 + 2 * 5000, "token")


async def test_what_exceeds_the_hold_is_the_operators_loss(
    services: Services, client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    async with priced_by_usage(services, output_bound=1000):
        response = await client.post(PATH, json=BODY)

    hold = 100 + 2 * 1000
    assert response.json()["metadata"]["charged_tokens"] == hold
    assert await account.balance() == (LIVE_TOKENS - hold, 0)
    async with engine.connect() as connection:
        query = text(
            "SELECT kind, debit, credit, tokens FROM transfers WHERE account_id = :id AND generation_id IS NOT NULL"
        )
        moved = {tuple(row) for row in await connection.execute(query, {"id": account.id})}
    loss = READ + 2 * DRAWN - hold
    assert moved == {("capture", "wallet", "revenue", hold), ("usage", "loss", "revenue", loss)}
