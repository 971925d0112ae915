"""What the tests of adapters share: a small pool, a door that refuses every call, and the sandbox."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from imagegate.outbound import open_outbound
from imagegate.pool import WorkPool
from imagegate.providers.sandbox import SandboxAdapter
from tests.providers.refusing import Refusing


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkPool]:
    pool = WorkPool(threads=1)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
async def refusing() -> AsyncIterator[Refusing]:
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(400, json={})

    async with open_outbound(api=httpx.MockTransport(refuse)) as outbound:
        yield Refusing(outbound, asked)


@pytest.fixture
async def sandbox(pool: WorkPool) -> AsyncIterator[SandboxAdapter]:
    async with open_outbound() as outbound:
        yield SandboxAdapter(outbound, pool)
