"""Long answers of providers: how many are in memory at once, and that none waits for ever."""

import asyncio
import base64
import os

import pytest
from httpx import AsyncClient
from PIL import Image

from imagegate.held import HeldBytes
from imagegate.outbound import arriving
from imagegate.outbound.arriving import Arriving, make_room
from imagegate.services import Services
from tests.conftest import Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status
from tests.media.pictures import encoded

MIB = 1024 * 1024
BODY = {"prompt": "a heron", "model": "openai/gpt-image-2", "size": "1024x1024", "quality": "low"}
SIDE = 1024
GRAIN = encoded("png", Image.frombytes("RGB", (SIDE, SIDE), os.urandom(SIDE * SIDE * 3)))


def later() -> float:
    """A deadline that is far away."""
    return asyncio.get_running_loop().time() + 60


async def hold(
    arrivals: Arriving, size_bytes: int, until: asyncio.Event, read: list[int] | None = None
) -> None:
    with arrivals.call(later()):
        await make_room(size_bytes)
        if read is not None:
            read.append(size_bytes)
        await until.wait()


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_answers_wait_until_those_before_them_are_stored() -> None:
    arrivals, stored = Arriving(10 * MIB), asyncio.Event()
    first = asyncio.create_task(hold(arrivals, 6 * MIB, stored))
    await turn()
    second = asyncio.create_task(hold(arrivals, 6 * MIB, stored))
    await turn()
    meanwhile = arrivals.held.held_bytes

    stored.set()
    await asyncio.gather(first, second)

    assert meanwhile == 6 * MIB
    assert (arrivals.held.peak_bytes, arrivals.held.held_bytes) == (6 * MIB, 0)


async def test_one_that_is_larger_than_the_budget_is_read_alone() -> None:
    arrivals, stored = Arriving(10 * MIB), asyncio.Event()
    small = asyncio.create_task(hold(arrivals, MIB, stored))
    await turn()
    large = asyncio.create_task(hold(arrivals, 64 * MIB, asyncio.Event()))
    await turn()
    meanwhile = arrivals.held.held_bytes

    stored.set()
    await small
    await turn()
    alone = arrivals.held.held_bytes
    large.cancel()
    await asyncio.wait({large})

    assert (meanwhile, alone, arrivals.held.held_bytes) == (MIB, 10 * MIB, 0)


async def test_none_waits_for_longer_than_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "PATIENCE_S", 0.01)
    arrivals, stored, read = Arriving(10 * MIB), asyncio.Event(), list[int]()

    calls = [asyncio.create_task(hold(arrivals, 6 * MIB, stored, read)) for _ in range(3)]
    await asyncio.sleep(0.5)
    meanwhile = len(read)
    stored.set()
    await asyncio.gather(*calls)

    assert (meanwhile, arrivals.held.held_bytes) == (3, 0)


async def test_a_call_whose_time_is_nearly_up_does_not_spend_it_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arriving, "PATIENCE_S", 600.0)
    arrivals = Arriving(10 * MIB)
    first = asyncio.create_task(hold(arrivals, 10 * MIB, asyncio.Event()))
    await turn()

    with arrivals.call(asyncio.get_running_loop().time() + 0.2):
        await asyncio.wait_for(make_room(MIB), 30)
    first.cancel()
    await asyncio.wait({first})

    assert arrivals.held.peak_bytes == 11 * MIB
    assert arrivals.held.held_bytes == 0


async def test_one_that_comes_in_drops_does_not_keep_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "PATIENCE_S", 0.05)
    arrivals, never = Arriving(10 * MIB), asyncio.Event()

    dripping = asyncio.create_task(hold(arrivals, 10 * MIB, never))
    await turn()
    meanwhile = arrivals.held.held_bytes
    await asyncio.sleep(0.2)
    expired = arrivals.held.held_bytes
    dripping.cancel()
    await asyncio.wait({dripping})

    assert (meanwhile, expired, arrivals.held.held_bytes) == (10 * MIB, 0, 0)


async def test_the_second_picture_of_a_call_does_not_wait_for_its_first() -> None:
    arrivals = Arriving(10 * MIB)

    with arrivals.call(later()):
        await asyncio.wait_for(asyncio.gather(*(make_room(6 * MIB) for _ in range(3))), 1)
        held = arrivals.held.held_bytes

    assert (held, arrivals.held.held_bytes) == (18 * MIB, 0)


async def test_what_outlives_its_call_holds_nothing() -> None:
    arrivals, ended = Arriving(10 * MIB), asyncio.Event()

    async def late() -> None:
        await ended.wait()
        await make_room(MIB)

    with arrivals.call(later()):
        task = asyncio.create_task(late())
        await turn()
    ended.set()
    await task
    await make_room(MIB)  # outside of every call

    assert (arrivals.held.peak_bytes, arrivals.held.held_bytes) == (0, 0)


async def test_many_large_pictures_at_once_are_read_a_few_at_a_time_and_all_are_given(
    services: Services,
    account: Account,
    client: AsyncClient,
    fake: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = HeldBytes(12 * MIB)
    monkeypatch.setattr(services.outbound.arriving, "held", held)
    picture = base64.b64encode(GRAIN).decode()
    fake.default = Status(200, {"created": 1, "data": [{"b64_json": picture}]})

    answers = await asyncio.gather(*(client.post("/v1/images/generations", json=BODY) for _ in range(12)))

    assert [answer.status_code for answer in answers] == [200] * 12
    assert {base64.b64decode(answer.json()["data"][0]["b64_json"]) for answer in answers} == {GRAIN}
    assert len(picture) < held.peak_bytes <= held.budget_bytes
    assert held.held_bytes == 0
    assert (await account.balance())[1] == 0


async def test_pictures_behind_links_count_too(
    services: Services, fake: FakeProvider, client: AsyncClient
) -> None:
    fake.pages["/grain.png"] = (200, {}, GRAIN)
    arrivals = services.outbound.arriving

    with arrivals.call(later()):
        read = await services.outbound.fetch(
            f"{fake.origin}/grain.png",
            trusted_hosts=frozenset({"127.0.0.1"}),
            timeout_s=10,
            max_bytes=8 * MIB,
            provider="fal",
        )
        held = arrivals.held.held_bytes
        told = (await client.get("/metrics")).text
    del fake.pages["/grain.png"]

    assert (read, held, arrivals.held.held_bytes) == (GRAIN, len(GRAIN), 0)
    assert [
        float(line.split()[1])
        for line in told.splitlines()
        if line.startswith("imagegate_provider_answers_bytes ")
    ] == [len(GRAIN)]
    assert "imagegate_requests_waiting 0.0" in told
