"""From the request of an async job to its event, through the public door, with the worker's own loops."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from httpx import AsyncClient
from standardwebhooks import Webhook

from imagegate.admin import webhooks
from imagegate.identity.audit import Actor
from imagegate.registry import seals_of
from imagegate.services import Services
from imagegate.webhooks.delivery import Courier
from imagegate.worker import working
from tests.conftest import Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Request, Status
from tests.webhooks.conftest import PICTURE, changed
from tests.webhooks.receiver import Receiver

US = Actor("cli:tests", "a test")
PATH = "/v1/images/generations/async"


@pytest.fixture
async def private(services: Services, courier: Courier) -> Services:
    """May send webhooks to loopback; `courier` has put what others left out of the way."""
    return changed(services, webhook_allow_private=True)


@pytest.fixture
async def caller(
    private: Services, account: Account, serve: Callable[[Services], Awaitable[str]]
) -> AsyncIterator[AsyncClient]:
    """Speaks with the account's live key to a gateway whose worker runs."""
    headers = {"authorization": f"Bearer {account.key}"}
    base_url = await serve(private)
    async with working(private), AsyncClient(base_url=base_url, headers=headers, timeout=30) as http:
        yield http


async def first_event(receiver: Receiver) -> Request:
    async with asyncio.timeout(15):
        while not receiver.requests:
            await asyncio.sleep(0.02)
    return receiver.requests[0]


async def queue(caller: AsyncClient, **more: Any) -> str:
    response = await caller.post(PATH, json=PICTURE | more)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


async def test_a_job_s_end_is_told_with_links_that_can_be_fetched(
    caller: AsyncClient, private: Services, account: Account, receiver: Receiver
) -> None:
    name = await queue(caller, webhook_url=receiver.url + "/hook")

    request = await first_event(receiver)

    async with private.engine.begin() as tx:
        secret = (await webhooks.show_secret(tx, seals_of(private.keyring), account.name, US))["secret"]
    event = Webhook(secret).verify(request.raw, request.headers)
    told = (await caller.get(f"/v1/images/generations/{name}")).json()
    link = event["data"]["data"][0].pop("url")
    told["data"][0].pop("url")
    assert (event["type"], event["data"]) == ("image.generation.completed", told)
    assert link.startswith(str(caller.base_url))
    assert (await caller.get(link)).headers["content-type"].startswith("image/")


async def test_a_job_that_failed_is_told_with_its_error(
    caller: AsyncClient, receiver: Receiver, fake: FakeProvider
) -> None:
    fake.default = Status(400, code="invalid_value", type="invalid_request_error")
    url = receiver.url + "/hook"

    name = await queue(caller, model="dall-e-2", webhook_url=url)
    event = json.loads((await first_event(receiver)).raw)

    assert (event["type"], event["data"]["id"]) == ("image.generation.failed", name)
    assert (event["data"]["status"], event["data"]["charged_tokens"]) == ("failed", 0)
    assert event["data"]["error"]["code"]
    assert "data" not in event["data"]


async def test_a_job_that_names_no_url_is_told_at_its_account_s(
    caller: AsyncClient, private: Services, account: Account, receiver: Receiver
) -> None:
    async with private.engine.begin() as tx:
        url = receiver.url + "/account"
        await webhooks.set_endpoint(tx, private.settings, account.name, "live", url, US)

    name = await queue(caller)
    request = await first_event(receiver)

    assert (request.path, json.loads(request.raw)["data"]["id"]) == ("/account", name)
