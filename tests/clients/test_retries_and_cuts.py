"""Clients that try again by their own defaults, while connections break and providers fail.

Whatever is debited is an image that the caller could have, and every image that it could have is debited once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import openai
import pytest
from httpx import AsyncClient

from tests.clients.cutting import Cut, CuttingProxy
from tests.clients.node import Node
from tests.clients.pictures import COST, SMALL, size_of
from tests.conftest import LIVE_TOKENS, Account

SCRIPTS = ("[[fail:503]]", "[[fail:500]]", "[[garbage]]", "[[ambiguous]]", "[[partial:1]]")
"""What the provider does where no connection is cut."""
Callers = Callable[[list[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]


@pytest.fixture
async def proxy(base_url: str) -> AsyncIterator[CuttingProxy]:
    port = urlsplit(base_url).port
    assert port is not None
    async with CuttingProxy(port) as cutting:
        yield cutting


def prompts() -> list[str]:
    return [*(f"[[slow:0.4]] a heron, {cut.value}" for cut in Cut), *(f"{tag} a heron" for tag in SCRIPTS)]


def cases(*, keyed: bool) -> list[dict[str, Any]]:
    return [{"prompt": prompt, "key": str(uuid4()) if keyed else None} for prompt in prompts()]


def python(account: Account, url: str) -> Callers:
    async def draw(client: openai.AsyncOpenAI, case: dict[str, Any]) -> dict[str, Any]:
        headers = {"Idempotency-Key": case["key"]} if case["key"] else {}
        try:
            said = {**SMALL, "prompt": case["prompt"], "n": 2}
            reply = await client.images.generate(**said, extra_headers=headers)
        except openai.APIStatusError as error:
            return {"id": None, "images": 0, "status": error.status_code}
        return {"id": reply.model_extra["metadata"]["id"], "images": len(reply.data), "status": None}

    async def draw_all(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=account.key) as client:
            return await asyncio.gather(*(draw(client, case) for case in cases))

    return draw_all


def node_js(node: Node, account: Account, url: str) -> Callers:
    async def draw_all(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = await node.run("openai_retries", url=url, key=account.key, cases=cases)
        return told

    return draw_all


async def obtainable(client: AsyncClient) -> set[tuple[str, int]]:
    """Every image that can be fetched now, by generation and number."""
    found = set()
    listed = (await client.get("/v1/images/generations", params={"limit": 100})).json()
    assert not listed["has_more"]
    for generation in listed["data"]:
        assert generation["status"] in ("completed", "failed", "cancelled")
        for number, image in enumerate(generation.get("data", ())):
            assert size_of((await client.get(image["url"])).content) == (256, 256)
            found.add((generation["id"], number))
    return found


async def prove(
    callers: Callers,
    account: Account,
    client: AsyncClient,
    proxy: CuttingProxy,
    *,
    keyed: bool,
    given: tuple[Cut, ...] = tuple(Cut),
) -> None:
    """`given`: the cuts after which the client has its images all the same."""
    asked = cases(keyed=keyed)
    answers = await callers(asked)
    proxy.sound = True
    again = await callers(asked) if keyed else []
    while (await account.balance())[1]:
        await asyncio.sleep(0.02)

    images = await obtainable(client)
    for told in (*answers, *again):
        assert {(told["id"], number) for number in range(told["images"])} <= images
    posted, held = await account.balance()
    assert (LIVE_TOKENS - posted, held) == (COST * len(images), 0)
    in_time = [2 if cut in given else 0 for cut in Cut]
    assert [told["images"] for told in answers] == [*in_time, *[0] * (len(SCRIPTS) - 1), 1]
    if keyed:
        assert len(images) == 2 * len(Cut) + 1
        assert [told["images"] for told in again] == [*[2] * len(Cut), *[0] * (len(SCRIPTS) - 1), 1]


@pytest.mark.parametrize("keyed", [False, True], ids=["without a key", "with a key"])
async def test_openai_python_pays_for_each_image_it_can_have_once(
    account: Account, client: AsyncClient, proxy: CuttingProxy, keyed: bool
) -> None:
    await prove(python(account, proxy.url), account, client, proxy, keyed=keyed)


@pytest.mark.parametrize("keyed", [False, True], ids=["without a key", "with a key"])
async def test_openai_node_pays_for_each_image_it_can_have_once(
    node: Node, account: Account, client: AsyncClient, proxy: CuttingProxy, keyed: bool
) -> None:
    # Once the head of an answer is there, it does not try again: such an image is left for the list, or the key.
    given = (Cut.BEFORE, Cut.AT_ONCE, Cut.RUNNING, Cut.ANSWER)

    await prove(node_js(node, account, proxy.url), account, client, proxy, keyed=keyed, given=given)
