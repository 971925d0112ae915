"""A receiver on loopback, a courier that may go there, and events of generations that were really made."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import Row, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.ids import new_id, parse_public_id
from imagegate.services import Services
from imagegate.webhooks import delivery
from imagegate.webhooks.delivery import Courier
from imagegate.webhooks.tables import webhook_outbox
from imagegate.worker import courier_of
from tests.conftest import Account
from tests.webhooks.receiver import Receiver

PICTURE = {"prompt": "a fox", "model": "sandbox", "size": "256x256", "response_format": "url"}

Put = Callable[..., Awaitable[UUID]]


def changed(services: Services, **settings: Any) -> Services:
    return replace(services, settings=services.settings.model_copy(update=settings))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def courier(services: Services, engine: AsyncEngine) -> Courier:
    """May go to private addresses, and waits half a second. What other tests left is out of its way."""
    async with engine.begin() as tx:
        await tx.execute(
            text("UPDATE webhook_outbox SET state = 'failed', ended_at = now() WHERE state = 'pending'")
        )
    return courier_of(changed(services, webhook_allow_private=True, webhook_timeout_s=0.5))


@pytest.fixture
async def generation(test_client: AsyncClient, base_url: str, engine: AsyncEngine) -> UUID:
    """One that was made and captured, in the test environment, as a job whose links are on this gateway."""
    response = await test_client.post("/v1/images/generations", json=PICTURE)
    assert response.status_code == 200, response.text
    found = parse_public_id("gen", response.json()["metadata"]["id"])
    assert found is not None
    async with engine.begin() as tx:
        job = "jsonb_build_object('link_base', CAST(:base AS text))"
        statement = text(f"UPDATE generations SET job = {job} WHERE id = :id")
        await tx.execute(statement, {"base": base_url, "id": found})
    return found


@pytest.fixture
def put(account: Account, generation: UUID, engine: AsyncEngine) -> Put:
    """Writes a row of the outbox, as the end of the generation does. more: other columns than usual."""

    async def write(url: str, **more: Any) -> UUID:
        id_ = new_id()
        row = {
            "account_id": account.id,
            "env": "test",
            "id": id_,
            "generation_id": generation,
            "type": "image.generation.completed",
            "url": url,
        }
        async with engine.begin() as tx:
            await tx.execute(insert(webhook_outbox).values({**row, **more}))
        return id_

    return write


async def deliver(courier: Courier) -> None:
    """Whatever is due, to its end."""
    await delivery.deliver_due(courier)
    await delivery.stop(courier)


async def row_of(engine: AsyncEngine, event: UUID) -> Row[Any]:
    async with engine.connect() as connection:
        query = select(webhook_outbox, text("EXTRACT(epoch FROM next_at - now()) AS wait_s"))
        return (await connection.execute(query.where(webhook_outbox.c.id == event))).one()


async def change(engine: AsyncEngine, event: UUID, **columns: str) -> None:
    """columns: SQL by name, such as next_at="now()"."""
    values = {name: text(value) for name, value in columns.items()}
    async with engine.begin() as tx:
        await tx.execute(update(webhook_outbox).where(webhook_outbox.c.id == event).values(values))
