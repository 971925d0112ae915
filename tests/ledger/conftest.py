"""An account without a gateway: what the ledger does needs none, and a gateway takes a second to open."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.catalogue import prices
from imagegate.catalogue.catalogue import load_catalogue
from imagegate.db.base import snapshot
from imagegate.ledger.verify import verify
from imagegate.settings import Settings
from tests.conftest import Account
from tests.ledger import paying


@pytest.fixture(scope="session")
async def priced(engine: AsyncEngine, settings: Settings) -> None:
    """As a gateway would: what is charged needs a price."""
    async with engine.begin() as tx:
        await prices.seed(tx, load_catalogue(), settings)


@pytest.fixture
async def account(priced: None, engine: AsyncEngine) -> AsyncIterator[Account]:
    """The ledger is proved after each test that asks for one."""
    yield await paying.open_account(engine)
    async with snapshot(engine) as connection:
        report = await verify(connection)
    assert report.ok, report.violations
