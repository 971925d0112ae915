"""Answers as server-sent events: by hand and by the official client, with listeners that stay and that leave."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from time import monotonic
from typing import Any

import httpx
import openai
import pytest
from httpx import AsyncClient, Response
from PIL import Image

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status
from tests.media.pictures import encoded, picture

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
BODY = {"prompt": "a heron", "model": "sandbox", "size": "256x256", "stream": True}
PNG = encoded("png", picture("RGB", 256, 256))
PRICE = 5_000


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and data in their order; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def size_of(b64: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(b64))).size


async def test_a_stream_ends_with_one_completed_event_an_image(client: AsyncClient, account: Account) -> None:
    response = await client.post(GENERATIONS, json=BODY | {"n": 2})

    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    events = read_events(response.text)
    assert [name for name, _ in events] == ["image_generation.completed"] * 2
    for name, data in events:
        assert (data["type"], data["size"], data["output_format"]) == (name, "256x256", "png")
        assert size_of(data["b64_json"]) == (256, 256)
        assert {"created_at", "quality", "background", "usage"} <= data.keys()
        assert data["metadata"]["id"] == response.headers["x-imagegate-generation-id"]
    assert events[0][1]["b64_json"] != events[1][1]["b64_json"]
    charged = events[0][1]["metadata"]["charged_tokens"]
    assert charged > 0
    assert await account.balance() == (LIVE_TOKENS - charged, 0)


async def test_the_async_client_reads_a_stream_of_a_model_that_counts_usage(
    account: Account, base_url: str, fake: FakeProvider
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        stream = await client.images.generate(
            model="gpt-image-2", prompt="a heron", size="1024x1024", n=2, stream=True
        )
        events = [event async for event in stream]

    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert [event.usage and event.usage.total_tokens for event in events] == [None, 12 + 2 * 1756]
    assert size_of(events[1].b64_json) == (1024, 1024)
    assert fake.violations == []
    assert not {"stream", "partial_images"} & fake.requests[0].body.keys()


async def test_the_sync_client_reads_streams_of_generations_and_edits(
    account: Account, base_url: str
) -> None:
    said: dict[str, Any] = {"model": "sandbox", "prompt": "a boat", "size": "256x256", "stream": True}

    def draw() -> list[Any]:
        with openai.OpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
            made = list(client.images.generate(**said))
            return made + list(client.images.edit(image=PNG, partial_images=0, **said))

    made, edited = await asyncio.to_thread(draw)

    assert (made.type, edited.type) == ("image_generation.completed", "image_edit.completed")
    assert edited.metadata["parameters"]["partial_images"] == {"treatment": "passed"}
    assert size_of(made.b64_json) == size_of(edited.b64_json) == (256, 256)


@pytest.mark.parametrize("truth", ["true", "1"])
async def test_a_form_asks_for_a_stream_in_text(client: AsyncClient, truth: str) -> None:
    fields = {"prompt": "a boat", "model": "sandbox", "size": "256x256", "stream": truth}

    response = await client.post(EDITS, data=fields | {"partial_images": "3"}, files={"image": PNG})

    ((name, data),) = read_events(response.text)
    assert name == data["type"] == "image_edit.completed"
    assert data["metadata"]["parameters"]["partial_images"]["treatment"] == "ignored"


@pytest.mark.parametrize(
    ("said", "name", "treatment"),
    [
        ({"partial_images": 2}, "partial_images", "passed"),
        ({"partial_images": 0}, "partial_images", "passed"),
        ({"response_format": "url"}, "response_format", "ignored"),
        ({"response_format": "b64_json"}, "response_format", "emulated"),
        ({"partial_images": 2, "stream": False}, "partial_images", "ignored"),
    ],
)
async def test_what_a_stream_cannot_do_is_said(
    client: AsyncClient, said: dict[str, Any], name: str, treatment: str
) -> None:
    response = await client.post(GENERATIONS, json=BODY | said)

    data = response.json() if said.get("stream") is False else read_events(response.text)[-1][1]
    assert data["metadata"]["parameters"][name]["treatment"] == treatment
    assert size_of(data["b64_json"] if "b64_json" in data else data["data"][0]["b64_json"]) == (256, 256)


@pytest.mark.parametrize(
    ("said", "status", "param"),
    [
        ({"partial_images": 4}, 400, "partial_images"),
        ({"partial_images": True}, 400, "partial_images"),
        ({"stream": "yes"}, 400, "stream"),
        (
            {"model": "dall-e-3", "size": "1024x1024", "partial_images": 1, "strict": True},
            400,
            "partial_images",
        ),
        ({"response_format": "url", "strict": True}, 400, "response_format"),
        ({"model": "dall-e-4"}, 404, "model"),
        ({"model": "dall-e-3", "size": "1792x1024", "quality": "hd", "n": 10}, 402, None),
    ],
)
async def test_what_fails_before_the_hold_is_a_plain_error(
    client: AsyncClient, account: Account, said: dict[str, Any], status: int, param: str | None
) -> None:
    response = await client.post(GENERATIONS, json=BODY | said)

    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_what_fails_after_the_hold_is_an_error_event_and_costs_nothing(
    client: AsyncClient, account: Account
) -> None:
    response = await client.post(GENERATIONS, json=BODY | {"prompt": "[[refuse]] a heron"})

    assert response.status_code == 200
    ((name, data),) = read_events(response.text)
    assert name == "error"
    assert data["error"]["code"] == "moderation_blocked"
    assert data["error"].keys() == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"] in data["error"]["message"]
    kept = await client.get(f"{GENERATIONS}/{response.headers['x-imagegate-generation-id']}")
    assert (kept.json()["status"], kept.json()["charged_tokens"]) == ("failed", 0)
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_the_client_raises_an_error_event_as_its_own_error(
    account: Account, base_url: str, fake: FakeProvider
) -> None:
    fake.default = Status(500)

    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        stream = await client.images.generate(
            model="gpt-image-2", prompt="a heron", size="1024x1024", stream=True
        )
        with pytest.raises(openai.APIError, match="openai failed by its own account"):
            await anext(stream)

    assert len(fake.requests) == 1
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.fixture
async def quick(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]]
) -> AsyncIterator[AsyncClient]:
    """A gateway that pings every 50 ms."""
    settings = services.settings.model_copy(update={"stream_ping_s": 0.05})
    url = await serve(replace(services, settings=settings))
    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        yield http


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
async def test_the_first_byte_does_not_wait_for_the_image_and_pings_tell_that_it_is_coming(
    quick: AsyncClient, path: str
) -> None:
    picture_url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    body = BODY | {"prompt": "[[slow:0.6]] a heron", "image_url": picture_url}
    began, arrived = monotonic(), []

    async with quick.stream("POST", path, json=body) as response:
        assert response.status_code == 200
        async for piece in response.aiter_text():
            arrived.append((monotonic() - began, piece))

    whole = "".join(piece for _, piece in arrived)
    first_s, last_s = arrived[0][0], arrived[-1][0]
    assert arrived[0][1].startswith(": ping\n\n")
    assert first_s < 0.4 < 0.6 <= last_s
    assert whole.count(": ping\n\n") >= 4
    assert [name.partition(".")[2] for name, _ in read_events(whole)] == ["completed"]


async def test_the_events_hold_the_bytes_that_are_kept_and_name_them(client: AsyncClient) -> None:
    response = await client.post(GENERATIONS, json=BODY | {"size": "1024x1024", "n": 2})

    events = [data for _, data in read_events(response.text)]
    kept = (await client.get(f"{GENERATIONS}/{response.headers['x-imagegate-generation-id']}")).json()
    linked = [(await client.get(item["url"])).content for item in kept["data"]]
    assert [base64.b64decode(data["b64_json"]) for data in events] == linked
    assert [data["image_id"] for data in events] == [item["image_id"] for item in kept["data"]]


async def test_the_completed_event_comes_after_the_capture(quick: AsyncClient, account: Account) -> None:
    body = BODY | {"prompt": "[[slow:0.3]] a heron"}
    seen = []

    async with quick.stream("POST", GENERATIONS, json=body) as response:
        async for piece in response.aiter_text():
            seen.append((piece, await account.balance()))

    while_it_works, at_the_end = seen[0][1], seen[-1][1]
    assert while_it_works == (LIVE_TOKENS, PRICE)
    assert at_the_end == (LIVE_TOKENS - PRICE, 0)


async def test_a_listener_that_leaves_pays_once_for_an_image_that_is_kept(
    quick: AsyncClient, account: Account
) -> None:
    body = BODY | {"prompt": "[[slow:0.3]] a heron"}

    async with quick.stream("POST", GENERATIONS, json=body) as response:
        name = response.headers["x-imagegate-generation-id"]

    kept = await until_over(quick, name)
    assert (kept["status"], kept["charged_tokens"]) == ("completed", PRICE)
    linked = await quick.get(kept["data"][0]["url"])
    assert Image.open(io.BytesIO(linked.content)).size == (256, 256)
    assert await account.balance() == (LIVE_TOKENS - PRICE, 0)


async def until_over(client: AsyncClient, name: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            told: dict[str, Any] = (await client.get(f"{GENERATIONS}/{name}")).json()
            if told["status"] != "in_progress":
                return told
            await asyncio.sleep(0.02)


async def test_a_client_that_tries_again_after_leaving_gets_the_same_image(
    quick: AsyncClient, account: Account
) -> None:
    body = BODY | {"prompt": "[[slow:0.3]] a heron"}
    async with quick.stream("POST", GENERATIONS, json=body) as response:
        name = response.headers["x-imagegate-generation-id"]
    await asyncio.sleep(0.05)

    again = await quick.post(GENERATIONS, json=body, headers={"x-stainless-retry-count": "1"})

    ((event, data),) = read_events(again.text)
    assert (event, data["metadata"]["id"]) == ("image_generation.completed", name)
    assert await account.balance() == (LIVE_TOKENS - PRICE, 0)


async def post_keyed(client: AsyncClient, key: str, **said: Any) -> Response:
    return await client.post(GENERATIONS, json=BODY | said, headers={"idempotency-key": key})


async def test_a_replay_gives_the_completed_events_at_once(client: AsyncClient, account: Account) -> None:
    first = await post_keyed(client, "stream-1", n=2)
    again = await post_keyed(client, "stream-1", n=2)
    plain = await post_keyed(client, "stream-1", n=2, stream=False)

    told = [[data["b64_json"] for _, data in read_events(answer.text)] for answer in (first, again)]
    assert told[0] == told[1] == [item["b64_json"] for item in plain.json()["data"]]
    assert again.headers["idempotent-replayed"] == "true"
    assert ": ping" in again.text
    assert await account.balance() == (LIVE_TOKENS - 2 * PRICE, 0)


async def test_a_replay_of_a_failure_is_a_plain_error(client: AsyncClient) -> None:
    first = await post_keyed(client, "stream-2", prompt="[[refuse]] a heron")
    again = await post_keyed(client, "stream-2", prompt="[[refuse]] a heron")

    assert [name for name, _ in read_events(first.text)] == ["error"]
    assert (again.status_code, again.json()["error"]["code"]) == (400, "moderation_blocked")


async def test_an_equal_request_listens_to_the_generation_that_runs(
    quick: AsyncClient, account: Account
) -> None:
    slow = {"prompt": "[[slow:0.4]] a heron"}

    async with quick.stream(
        "POST", GENERATIONS, json=BODY | slow, headers={"idempotency-key": "stream-3"}
    ) as first:
        second = await post_keyed(quick, "stream-3", **slow)
        rest = "".join([piece async for piece in first.aiter_text()])

    ((_, told),), ((_, heard),) = read_events(rest), read_events(second.text)
    assert second.text.count(": ping") >= 2
    assert heard["b64_json"] == told["b64_json"]
    assert await account.balance() == (LIVE_TOKENS - PRICE, 0)


async def test_who_listens_to_a_generation_that_fails_hears_the_error(quick: AsyncClient) -> None:
    slow = {"prompt": "[[slow:0.3]] [[refuse]] a heron"}

    async with quick.stream(
        "POST", GENERATIONS, json=BODY | slow, headers={"idempotency-key": "stream-4"}
    ) as first:
        second = await post_keyed(quick, "stream-4", **slow)
        rest = "".join([piece async for piece in first.aiter_text()])

    told = [read_events(text) for text in (rest, second.text)]
    assert [(name, data["error"]["code"]) for ((name, data),) in told] == [
        ("error", "moderation_blocked")
    ] * 2


async def test_a_dry_run_of_a_stream_is_an_estimate(client: AsyncClient) -> None:
    response = await client.post(f"{GENERATIONS}?dryRun=true", json=BODY)

    assert response.json()["estimated"] is True


async def test_many_listeners_that_leave_at_any_moment_leave_no_hold(
    quick: AsyncClient, account: Account
) -> None:
    async def listen(moment_s: float) -> None:
        try:
            async with asyncio.timeout(moment_s):
                await quick.post(GENERATIONS, json=BODY | {"prompt": "[[slow:0.05]] a heron"})
        except (TimeoutError, httpx.HTTPError):
            pass

    await asyncio.gather(*(listen(0.005 * moment) for moment in range(1, 17)))

    async with asyncio.timeout(10):
        while (balance := await account.balance())[1]:
            await asyncio.sleep(0.02)
    listed = (await quick.get(f"{GENERATIONS}?limit=100")).json()["data"]
    paid = sum(told["charged_tokens"] for told in listed if told["status"] == "completed")
    assert balance == (LIVE_TOKENS - paid, 0)
