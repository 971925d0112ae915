"""Clients of other languages, and a customer without money."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.clients.node import Node, Unavailable, install
from tests.conftest import Account, open_account


@pytest.fixture(scope="session")
async def node() -> Node:
    """Skips the tests of these clients, with the reason, where they cannot be had."""
    try:
        return await asyncio.to_thread(install)
    except Unavailable as why:
        pytest.skip(str(why))


@pytest.fixture
async def poor(services: Services, engine: AsyncEngine) -> Account:
    return await open_account(services, engine, live_tokens=0)
