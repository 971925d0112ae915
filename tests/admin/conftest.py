"""Operators with keys of their own, speaking HTTP with the real gateway."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from uuid import uuid4

import pytest
from httpx import AsyncClient

from imagegate.admin import operators
from imagegate.identity.audit import Actor
from imagegate.identity.operators import SCOPES, Scope
from imagegate.services import Services

Issue = Callable[..., Awaitable[AsyncClient]]
BASE = "/admin/v1"
SHELL = Actor("cli:tests", "a test")


@pytest.fixture
async def issue(services: Services, base_url: str) -> AsyncIterator[Issue]:
    """Makes an operator key with the scopes named, and a client that speaks with it."""
    async with AsyncExitStack() as stack:

        async def client(*scopes: Scope, expires_at: datetime | None = None) -> AsyncClient:
            name, pepper = f"operator-{uuid4().hex[:12]}", services.keyring.key_pepper
            async with services.engine.begin() as tx:
                made, plain = await operators.create_operator(tx, pepper, name, scopes, expires_at, SHELL)
            headers = {"authorization": f"Bearer {plain}", "x-operator": made.public_id, "x-name": name}
            http = AsyncClient(base_url=base_url + BASE, headers=headers, timeout=30)
            return await stack.enter_async_context(http)

        yield client


@pytest.fixture
async def admin(issue: Issue) -> AsyncClient:
    """An operator who may do everything."""
    return await issue(*SCOPES)
