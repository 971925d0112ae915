"""Slow answers of keys with keep-alive: white space until the JSON comes, by hand and through OpenAI's client."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import openai
import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from imagegate.admin import keys
from imagegate.identity.audit import Actor
from imagegate.ids import public_id
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.line.test_polled import Serve
from tests.media.pictures import encoded, picture

GENERATIONS, EDITS, VARIATIONS = "/v1/images/generations", "/v1/images/edits", "/v1/images/variations"
SMALL: dict[str, Any] = {"model": "sandbox", "size": "256x256"}
SLOW = SMALL | {"prompt": "[[slow:0.5]] a heron"}
QUICK = SMALL | {"prompt": "a heron"}
PNG = encoded("png", picture("RGB", 256, 256))
BY = Actor("cli:tests", "a test")


async def set_keepalive(engine: AsyncEngine, account: Account) -> None:
    async with engine.begin() as tx:
        query = text("SELECT id FROM api_keys WHERE account_id = :id")
        for key_id in (await tx.execute(query, {"id": account.id})).scalars().all():
            await keys.set_keepalive(tx, public_id("key", key_id), True, BY)


@pytest.fixture
async def url(services: Services, account: Account, engine: AsyncEngine, serve: Serve) -> str:
    """A gateway that sends white space every 50 ms, for the account's keys."""
    await set_keepalive(engine, account)
    settings = services.settings.model_copy(update={"keepalive_s": 0.05})
    return await serve(replace(services, settings=settings))


@pytest.fixture
async def slowly(url: str, account: Account) -> AsyncIterator[AsyncClient]:
    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        yield http


@asynccontextmanager
async def asked(url: str, account: Account, body: dict[str, Any]) -> AsyncIterator[asyncio.StreamReader]:
    """The answer, byte for byte. The connection closes after it."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    sent = json.dumps(body).encode()
    head = (
        f"POST {GENERATIONS} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {account.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(sent)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + sent)
    try:
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


def unchunked(data: bytes) -> list[bytes]:
    found = []
    while data:
        size, _, rest = data.partition(b"\r\n")
        found.append(rest[: int(size, 16)])
        data = rest[int(size, 16) + 2 :]
    return found


async def test_white_space_comes_while_the_image_is_made_and_then_the_json(
    url: str, account: Account
) -> None:
    async with asked(url, account, SLOW) as reader:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        first = await reader.readexactly(6)
        busy = (await account.balance())[1]
        pieces = [b" ", *unchunked(await reader.read())]

    assert head.startswith(b"http/1.1 200 ")
    assert b"content-type: application/json\r\n" in head
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    assert b"x-imagegate-generation-id: gen_" in head
    assert (first, busy > 0) == (b"1\r\n \r\n", True)
    spaces = [piece for piece in pieces if piece == b" "]
    assert len(spaces) >= 4
    told = json.loads(b"".join(pieces))
    assert base64.b64decode(told["data"][0]["b64_json"]).startswith(b"\x89PNG")
    assert await account.balance() == (LIVE_TOKENS - told["metadata"]["charged_tokens"], 0)


async def test_the_official_client_reads_it_on_every_route(url: str, account: Account) -> None:
    said: dict[str, Any] = {"model": "sandbox", "size": "256x256"}

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=account.key) as client:
        made = await client.images.generate(prompt="[[slow:0.2]] a heron", **said)
        edited = await client.images.edit(image=PNG, prompt="[[slow:0.2]] a heron", **said)
        with pytest.warns(DeprecationWarning, match="deprecated"):
            varied = await client.images.create_variation(
                image=PNG, extra_body={"prompt": "[[slow:0.2]] a heron"}, **said
            )

    for answer in (made, edited, varied):
        assert answer.data is not None
        assert base64.b64decode(answer.data[0].b64_json or "").startswith(b"\x89PNG")


async def test_an_error_after_the_first_byte_says_the_status_that_it_would_have_had(
    slowly: AsyncClient, url: str, account: Account
) -> None:
    body = SMALL | {"prompt": "[[slow:0.2]] [[fail:503]] a heron"}

    response = await slowly.post(GENERATIONS, json=body)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=account.key) as client:
        seen = await client.images.generate(**body)

    error = response.json()["error"]
    assert (response.status_code, error["status"], error["code"]) == (200, 502, "all_providers_failed")
    assert error.keys() == {"message", "type", "param", "code", "status"}
    assert response.headers["x-request-id"] in error["message"]
    assert seen.data is None
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    ("path", "model", "has"),
    [
        ("/v1/images/generate", "sandbox", "images"),
        ("/v1/image/generations", "sandbox", "data"),
        ("/v1/images", "sandbox:sandbox", "choices"),
    ],
)
async def test_other_dialects_have_it_in_their_own_shapes(
    slowly: AsyncClient, path: str, model: str, has: str
) -> None:
    body = {"prompt": "[[slow:0.2]] a heron", "model": model, "size": "256x256"}

    good = await slowly.post(path, json=body)
    bad = await slowly.post(path, json=body | {"prompt": "[[slow:0.2]] [[fail:503]] a heron"})

    assert (good.status_code, good.content[:1], len(good.json()[has])) == (200, b" ", 1)
    told = bad.json()
    status = told["status"] if "status" in told else told["error"]["status"]
    assert (bad.status_code, bad.content[:1], status) == (200, b" ", 502)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (QUICK, 200),
        (SMALL | {"prompt": "[[refuse]] a heron"}, 400),
        (SMALL | {"prompt": "[[fail:503]] a heron"}, 502),
        (QUICK | {"model": "dall-e-4"}, 404),
        (QUICK | {"n": 99}, 400),
    ],
)
async def test_what_is_known_soon_has_its_own_status_and_its_headers(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient, said: Any, status: int
) -> None:
    await set_keepalive(engine, account)

    response = await client.post(GENERATIONS, json=said)

    assert response.status_code == status
    assert int(response.headers["content-length"]) == len(response.content)
    assert not response.content.startswith(b" ")
    assert "status" not in response.json().get("error", {})
    if status == 200:
        assert int(response.headers["x-imagegate-charged-tokens"]) > 0


async def test_a_key_without_it_waits_in_silence(
    services: Services, account: Account, client: AsyncClient, serve: Serve
) -> None:
    settings = services.settings.model_copy(update={"keepalive_s": 0.05})
    url = await serve(replace(services, settings=settings))

    response = await client.post(f"{url}{GENERATIONS}", json=SLOW)

    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.content.startswith(b"{")


async def test_streams_and_dry_runs_are_as_without_it(slowly: AsyncClient) -> None:
    stream = await slowly.post(GENERATIONS, json=SLOW | {"stream": True})
    dry = await slowly.post(f"{GENERATIONS}?dryRun=true", json=SLOW)

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert (dry.status_code, dry.json()["estimated"]) == (200, True)


async def test_who_leaves_finds_the_image_later(slowly: AsyncClient, account: Account) -> None:
    async with slowly.stream("POST", GENERATIONS, json=SLOW) as response:
        named = response.headers["x-imagegate-generation-id"]
        assert await anext(response.aiter_bytes()) == b" "

    async with asyncio.timeout(10):
        while (await slowly.get(f"{GENERATIONS}/{named}")).json()["status"] != "completed":
            await asyncio.sleep(0.02)
    again = await slowly.post(GENERATIONS, json=SLOW)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["metadata"]["id"] == named
    posted, held = await account.balance()
    assert (posted, held) == (LIVE_TOKENS - again.json()["metadata"]["charged_tokens"], 0)


async def test_who_asks_again_with_the_same_key_waits_for_the_same_image(slowly: AsyncClient) -> None:
    headers = {"idempotency-key": "once"}

    first, second = await asyncio.gather(
        *(slowly.post(GENERATIONS, json=SLOW, headers=headers) for _ in range(2))
    )

    assert first.content.startswith(b" ")
    assert second.content.startswith(b" ")
    assert first.json()["metadata"]["id"] == second.json()["metadata"]["id"]
    assert first.json()["data"][0]["b64_json"] == second.json()["data"][0]["b64_json"]


async def test_a_gateway_s_own_failure_is_told_too(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    class Broken:
        async def generate(self, call: object) -> object:
            await asyncio.sleep(0.2)
            raise ZeroDivisionError

    await set_keepalive(engine, account)
    settings = services.settings.model_copy(update={"keepalive_s": 0.05})
    adapters: Any = {**services.adapters, "sandbox": Broken()}
    url = await serve(replace(services, settings=settings, adapters=adapters))
    headers = {"authorization": f"Bearer {account.key}"}

    with capture_logs() as logged:
        async with AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            response = await http.post(GENERATIONS, json=QUICK)

    error = response.json()["error"]
    assert (response.status_code, error["status"], error["code"]) == (200, 500, "internal_error")
    events = [entry["event"] for entry in logged if entry["event"] != "generation"]
    assert events == ["line_bug", "unhandled"]
    assert await account.balance() == (LIVE_TOKENS, 0)
