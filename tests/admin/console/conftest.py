"""Somebody at the console: a browser's client with the session of one role."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from httpx import AsyncClient, Response

from imagegate.identity import console
from imagegate.identity.console import Role
from imagegate.services import Services

Enter = Callable[[Role], Awaitable["Seat"]]


class Seat:
    """A client that is signed in. `csrf`: what its forms carry."""

    def __init__(self, http: AsyncClient, csrf: str = "") -> None:
        self.http, self.csrf = http, csrf

    async def get(self, path: str, **query: str) -> Response:
        return await self.http.get(path, params=query or None)

    async def post(self, path: str, **fields: str) -> Response:
        return await self.http.post(path, data={"csrf": self.csrf, **fields})


def link_of(services: Services, role: Role = "write") -> str:
    """The token of a fresh sign-in link."""
    url = console.link_url(services.keyring.console, "", role, "console:tests")
    return url.partition("token=")[2]


def csrf_in(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page[:500]
    return found[1]


@pytest.fixture
async def browser(base_url: str) -> AsyncIterator[AsyncClient]:
    """Nobody yet. It says where its forms come from, as browsers do."""
    async with AsyncClient(base_url=base_url, headers={"origin": base_url}, timeout=30) as http:
        yield http


@pytest.fixture
async def enter(services: Services, base_url: str) -> AsyncIterator[Enter]:
    async with AsyncExitStack() as stack:

        async def signed_in(role: Role) -> Seat:
            http = AsyncClient(base_url=base_url, headers={"origin": base_url}, timeout=30)
            await stack.enter_async_context(http)
            entered = await http.post("/console/sign-in", data={"token": link_of(services, role)})
            assert entered.status_code == 303, entered.text
            return Seat(http, csrf_in((await http.get("/console/welcome")).text))

        yield signed_in


@pytest.fixture
async def writer(enter: Enter) -> Seat:
    return await enter("write")


@pytest.fixture
async def reader(enter: Enter) -> Seat:
    return await enter("read")
