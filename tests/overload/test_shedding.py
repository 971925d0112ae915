"""What a gateway with enough to do answers, and that whoever is turned away loses nothing."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient, Response
from PIL import Image
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate import load as loads
from imagegate.load import BURST_S, LATE_LOOKS, Load
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Wait
from tests.media.pictures import encoded

Serve = Callable[[Services], Awaitable[str]]
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
BODY = {"prompt": "a heron", "model": "openai/gpt-image-2", "size": "1024x1024", "quality": "low"}
MIB = 1024 * 1024


def with_load(services: Services, **changed: Any) -> Services:
    return replace(services, load=Load(services.settings.model_copy(update=changed)))


def caller(url: str, account: Account) -> AsyncClient:
    return AsyncClient(base_url=url, headers={"authorization": f"Bearer {account.key}"}, timeout=30)


def shed(response: Response) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")
    assert response.headers["retry-after"] == "1"
    assert response.headers["x-should-retry"] == "true"


async def test_while_the_loop_is_late_new_images_are_shed_unread_and_everything_else_is_answered(
    services: Services, account: Account, serve: Serve, fake: FakeProvider
) -> None:
    gateway = with_load(services, shed_late_ms=50)
    async with caller(await serve(gateway), account) as http:
        for _ in range(LATE_LOOKS + 1):
            gateway.load.looked(1.0)
            await asyncio.sleep(BURST_S / 2)

        broken = await http.post(GENERATIONS, content=b"not even JSON")
        edit = await http.post(EDITS, files={"image": b"no picture"}, data={"prompt": "a hat"})
        others = [await http.get(path) for path in ("/healthz", "/v1/models", "/v1/images/generations")]
        told = (await http.get("/metrics")).text
        gateway.load.looked(0.0)
        drawn = await http.post(GENERATIONS, json=BODY)

    shed(broken)
    shed(edit)
    assert [response.status_code for response in others] == [200, 200, 200]
    assert 'imagegate_shed_total{reason="late"} 2.0' in told
    assert drawn.status_code == 200
    assert len(fake.requests) == 1


async def test_an_account_that_has_every_place_makes_room_for_one_that_asks(
    services: Services, account: Account, serve: Serve, fake: FakeProvider, engine: AsyncEngine
) -> None:
    gateway, go = with_load(services, max_in_flight=4, max_provider_calls=9), asyncio.Event()
    other = await open_account(services, engine)
    fake.default = Wait(go)
    url = await serve(gateway)

    async with caller(url, account) as hog, caller(url, other) as late:
        first = [asyncio.create_task(hog.post(GENERATIONS, json=BODY)) for _ in range(4)]
        await fake.arrived(4)
        refused = await late.post(GENERATIONS, json=BODY)
        go.set()
        await asyncio.gather(*first)
        go.clear()
        second = [asyncio.create_task(hog.post(GENERATIONS, json=BODY)) for _ in range(2)]
        await fake.arrived(6)
        greedy = await hog.post(GENERATIONS, json=BODY)
        third = asyncio.create_task(late.post(GENERATIONS, json=BODY))
        await fake.arrived(7)
        go.set()
        answers = [task.result() for task in first] + await asyncio.gather(*second, third)

    shed(refused)
    shed(greedy)
    assert [answer.status_code for answer in answers] == [200] * 7
    assert (gateway.load.in_flight, dict(gateway.load.accounts)) == (0, {})
    assert (await other.balance())[1] == 0


async def test_a_provider_that_hangs_does_not_take_every_place(
    services: Services, account: Account, serve: Serve, fake: FakeProvider
) -> None:
    gateway, go = with_load(services, max_in_flight=8, max_provider_calls=1), asyncio.Event()
    fake.default = Wait(go)

    async with caller(await serve(gateway), account) as http:
        hanging = asyncio.create_task(http.post(GENERATIONS, json=BODY))
        await fake.arrived(1)
        busy = await http.post(GENERATIONS, json=BODY)
        elsewhere = await http.post(GENERATIONS, json=BODY | {"model": "sandbox"})
        go.set()
        drawn = await hanging

    shed(busy)
    assert "openai has as many calls" in busy.json()["error"]["message"]
    assert (elsewhere.status_code, drawn.status_code) == (200, 200)
    assert len(fake.requests) == 1


async def test_many_large_bodies_stay_inside_the_budget_and_all_are_drawn(
    services: Services, account: Account, serve: Serve
) -> None:
    gateway = with_load(services, max_held_bytes=16 * MIB)
    image = base64.b64encode(
        encoded("png", Image.frombytes("RGB", (700, 700), os.urandom(700 * 700 * 3)))
    ).decode()
    body = {"prompt": "a hat", "model": "sandbox", "size": "256x256", "image": image}
    assert len(image) > MIB

    async with caller(await serve(gateway), account) as http:
        answers = await asyncio.gather(*(http.post(EDITS, json=body) for _ in range(16)))

    assert [answer.status_code for answer in answers] == [200] * 16
    assert gateway.load.bytes.peak_bytes > 2 * 2.5 * MIB
    assert gateway.load.bytes.held_bytes == 0


@pytest.mark.parametrize("form", [False, True])
async def test_a_body_that_finds_no_room_is_shed_before_it_is_read(
    services: Services,
    account: Account,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    form: bool,
) -> None:
    gateway = with_load(services, max_held_bytes=4 * MIB)
    monkeypatch.setattr(loads, "PATIENCE_S", 0.05)
    lease = gateway.load.lease(4 * MIB)

    async with caller(await serve(gateway), account) as http:
        if form:
            refused = await http.post(EDITS, files={"image": bytes(MIB)}, data={"prompt": "a hat"})
        else:
            refused = await http.post(EDITS, content=b"[" * MIB)
        small = await http.post(GENERATIONS, json=BODY | {"model": "sandbox"})

    shed(refused)
    assert small.status_code == 200
    assert gateway.load.shed["bytes"] == 1
    lease.end()


async def test_a_body_in_chunks_counts_as_it_comes(
    services: Services, account: Account, serve: Serve
) -> None:
    gateway = with_load(services, max_held_bytes=4 * MIB)

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(64):
            yield b"x" * 65_536
        yield b'"}'

    async with caller(await serve(gateway), account) as http:
        refused = await http.post(GENERATIONS, content=pieces(), headers={"content-type": "application/json"})

    shed(refused)
    assert gateway.load.bytes.held_bytes == 0
    assert gateway.load.bytes.peak_bytes <= 4 * MIB
    assert await account.balance() == (LIVE_TOKENS, 0)
