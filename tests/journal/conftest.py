"""Workers and their customers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import keys as admin_keys
from imagegate.identity import keys
from imagegate.services import Services
from tests.conftest import open_account
from tests.journal.customers import TOKENS, Customer, MakeCustomer, MakeWorker
from tests.journal.machine_workers import Worker
from tests.journal.machine_world import BY


@pytest.fixture
async def worker(services: Services) -> AsyncIterator[MakeWorker]:
    """Make workers. None of them may have met an error of the database, a deadlock for instance."""
    async with AsyncExitStack() as stack:
        made: list[Worker] = []

        def make(shared_s: float = 1.0) -> Worker:
            made.append(Worker(services.engine, shared_s=shared_s))
            stack.push_async_callback(made[-1].close)
            return made[-1]

        yield make
    assert [one.connection.broken for one in made] == [[]] * len(made)


@pytest.fixture
async def customer_of(services: Services, engine: AsyncEngine) -> AsyncIterator[MakeCustomer]:
    """Make customers. What they leave open is voided, so that no gateway's sweeper meets it."""
    made: list[Customer] = []

    async def make(tokens: int = TOKENS, expires_at: datetime | None = None) -> Customer:
        account = await open_account(services, engine, tokens)
        async with engine.begin() as tx:
            labels = keys.Labels()
            key = await admin_keys.create_key(tx, b"pepper", account.name, "live", labels, expires_at, BY)
        made.append(Customer(account, engine, key.id))
        return made[-1]

    yield make
    query = text("SELECT id, epoch FROM generations WHERE account_id = :id AND state = 'running'")
    sweeper = Worker(services.engine)
    for one in made:
        async with engine.connect() as connection:
            rows = (await connection.execute(query, {"id": one.account.id})).all()
        await asyncio.gather(*(one.void(sweeper, row.id, epoch=row.epoch) for row in rows))
    await sweeper.close()


@pytest.fixture
async def customer(customer_of: MakeCustomer) -> Customer:
    return await customer_of()
