"""Previews in a stream: shown after the hold and before the debit, paid as they came, not where they must not be."""

import asyncio
import base64
import io
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from time import monotonic
from typing import Any

import openai
import pytest
from httpx import AsyncClient
from PIL import Image
from sqlalchemy import text

from imagegate.domain import Model, Plan, Quote, Size
from imagegate.generation.quotes import quote_from, quote_json
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_events import Events, error_event
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import Status, images_body
from tests.line.moderated import Serve, moderated, row_of
from tests.line.test_streams import GENERATIONS, PNG, read_events
from tests.moderation.server import ModerationServer

MODEL = "gpt-image-2.5-flare"
BODY = {"prompt": "a heron", "model": MODEL, "size": "1024x1024", "quality": "low", "stream": True}
PREVIEW = 3_000
PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"


def names(text: str) -> list[str]:
    return [name for name, _ in read_events(text)]


def width_of(b64: str) -> int:
    return Image.open(io.BytesIO(base64.b64decode(b64))).width


@pytest.fixture
async def image_tokens(client: AsyncClient) -> int:
    estimate = await client.post(f"{GENERATIONS}?dryRun=true", json=BODY)
    return int(estimate.json()["hold_tokens"])


async def test_the_official_client_sees_previews_and_then_the_image(
    account: Account, base_url: str, fake: FakeProvider
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        stream = await client.images.generate(
            model=MODEL, prompt="a heron", size="1024x1024", stream=True, partial_images=2
        )
        events = [event async for event in stream]

    first, second, last = events
    assert [event.type for event in events] == [PARTIAL, PARTIAL, COMPLETED]
    assert [first.partial_image_index, second.partial_image_index] == [0, 1]
    assert [width_of(event.b64_json) for event in events] == [64, 65, 1024]
    assert (first.size, first.quality, first.background) == ("1024x1024", "high", "opaque")
    assert (first.output_format, first.created_at > 1_700_000_000) == ("png", True)
    assert last.usage.output_tokens == 1756 + 2 * 100
    assert fake.violations == []
    assert (fake.requests[0].body["stream"], fake.requests[0].body["partial_images"]) == (True, 2)


async def test_the_official_client_sees_previews_of_an_edit(
    account: Account, base_url: str, fake: FakeProvider
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        stream = await client.images.edit(
            model=MODEL, prompt="a heron", image=PNG, size="1024x1024", stream=True, partial_images=1
        )
        events = [event async for event in stream]

    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert fake.violations == []
    assert fake.requests[0].is_form


@pytest.mark.parametrize("shown", [0, 1, 3, 5])
async def test_what_came_is_paid_and_never_more_than_was_asked_for(
    client: AsyncClient, account: Account, fake: FakeProvider, image_tokens: int, shown: int
) -> None:
    fake.then(Events(previews=shown))

    response = await client.post(GENERATIONS, json=BODY | {"partial_images": 3})

    came = min(shown, 3)
    events = read_events(response.text)
    assert [name for name, _ in events] == [PARTIAL] * came + [COMPLETED]
    assert events[-1][1]["metadata"]["charged_tokens"] == image_tokens + came * PREVIEW
    assert events[-1][1]["metadata"]["parameters"]["partial_images"] == {"treatment": "passed"}
    assert await account.balance() == (LIVE_TOKENS - image_tokens - came * PREVIEW, 0)


async def test_the_hold_and_the_estimate_have_every_preview_of_every_image(
    client: AsyncClient, account: Account, fake: FakeProvider, image_tokens: int
) -> None:
    gate = asyncio.Event()
    fake.then(Events(gate=gate), Events(gate=gate))
    body = BODY | {"n": 2, "partial_images": 3}

    estimate = (await client.post(f"{GENERATIONS}?dryRun=true", json=body)).json()
    seen = []
    async with client.stream("POST", GENERATIONS, json=body) as response:
        lines = response.aiter_lines()
        while len(seen) < 6:
            if (line := await anext(lines)).startswith("event: "):
                seen.append(line)
        held = await account.balance()
        gate.set()
        rest = [line async for line in lines if line.startswith("event: ")]

    worst = 2 * image_tokens + 6 * PREVIEW
    assert estimate["hold_tokens"] == worst
    assert estimate["components"][1]["metric"] == "partial_image"
    assert estimate["components"][1]["quantity"] == 6
    assert held == (LIVE_TOKENS, worst)
    assert seen == [f"event: {PARTIAL}"] * 6
    assert rest == [f"event: {COMPLETED}"] * 2
    assert [request.body["n"] for request in fake.requests] == [1, 1]
    assert await account.balance() == (LIVE_TOKENS - worst, 0)


async def test_previews_of_several_images_can_be_told_apart(client: AsyncClient, fake: FakeProvider) -> None:
    response = await client.post(GENERATIONS, json=BODY | {"n": 2, "partial_images": 2})

    shown = {(d["attempt"], d["partial_image_index"]) for n, d in read_events(response.text) if n == PARTIAL}
    assert shown == {(0, 0), (0, 1), (1, 0), (1, 1)}


async def test_a_preview_is_there_while_the_image_is_not(client: AsyncClient, fake: FakeProvider) -> None:
    gate = asyncio.Event()
    fake.then(Events(gate=gate))

    async with client.stream("POST", GENERATIONS, json=BODY | {"partial_images": 1}) as response:
        name = response.headers["x-imagegate-generation-id"]
        lines = response.aiter_lines()
        while not (await anext(lines)).startswith(f"event: {PARTIAL}"):
            pass
        running = (await client.get(f"{GENERATIONS}/{name}")).json()
        gate.set()
        rest = [line async for line in lines]

    assert (running["status"], running["charged_tokens"]) == ("in_progress", 0)
    assert f"event: {COMPLETED}" in rest


async def test_previews_are_kept_nowhere(client: AsyncClient, services: Services, fake: FakeProvider) -> None:
    response = await client.post(GENERATIONS, json=BODY | {"partial_images": 2})

    generation = response.headers["x-imagegate-generation-id"]
    kept = (await client.get(f"{GENERATIONS}/{generation}")).json()
    assert len(kept["data"]) == 1
    row = await row_of(services.engine, generation)
    prefix = f"{row.account_id.hex}/live/{row.id.hex}/"
    assert len(await services.store.list(prefix)) == 1
    assert row.billed["previews"] == 2


async def test_who_left_gets_none_and_the_image_is_made_and_paid_all_the_same(
    client: AsyncClient, account: Account, fake: FakeProvider, image_tokens: int
) -> None:
    gate = asyncio.Event()
    fake.then(Events(gate=gate))

    async with client.stream("POST", GENERATIONS, json=BODY | {"partial_images": 2}) as response:
        name = response.headers["x-imagegate-generation-id"]
        await fake.arrived(1)
    gate.set()

    async with asyncio.timeout(10):
        while (await client.get(f"{GENERATIONS}/{name}")).json()["status"] != "completed":
            await asyncio.sleep(0.02)
    assert await account.balance() == (LIVE_TOKENS - image_tokens - 2 * PREVIEW, 0)


@pytest.mark.parametrize(
    ("code", "status", "type"),
    [
        ("moderation_blocked", "moderation_blocked", "image_generation_user_error"),
        ("server_error", "all_providers_failed", "server_error"),
    ],
)
async def test_an_error_after_previews_is_an_error_event_and_costs_nothing(
    client: AsyncClient, account: Account, fake: FakeProvider, code: str, status: str, type: str
) -> None:
    fake.then(Events(last=error_event(code, type)))

    response = await client.post(GENERATIONS, json=BODY | {"model": f"openai:{MODEL}", "partial_images": 2})

    events = read_events(response.text)
    assert [name for name, _ in events] == [PARTIAL, PARTIAL, "error"]
    assert events[-1][1]["error"]["code"] == status
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    "last", [b"", b'event: image_generation.completed\ndata: {"type"', b"data: nonsense\n\n"]
)
@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_breaks_off_is_void_and_at_risk(
    client: AsyncClient, account: Account, services: Services, fake: FakeProvider, last: bytes, cut: bool
) -> None:
    fake.then(Events(last=last or b": nothing\n\n", cut=cut))

    response = await client.post(GENERATIONS, json=BODY | {"partial_images": 1})

    events = read_events(response.text)
    assert [name for name, _ in events] == [PARTIAL, "error"]
    assert events[-1][1]["error"]["code"] == "upstream_timeout"
    assert len(fake.requests) == 1
    assert await account.balance() == (LIVE_TOKENS, 0)
    generation = response.headers["x-imagegate-generation-id"]
    told = (await client.get(f"{GENERATIONS}/{generation}")).json()
    assert (told["status"], told["charged_tokens"]) == ("failed", 0)
    row = await row_of(services.engine, generation)
    async with services.engine.connect() as connection:
        query = text("SELECT class, at_risk_usd FROM attempts WHERE generation_id = :id")
        outcome, at_risk = (await connection.execute(query, {"id": row.id})).one()
    assert outcome == "AMBIGUOUS"
    assert at_risk == Decimal("0.00588") + Decimal("0.003")


async def test_a_stream_that_drips_past_the_deadline_is_ended(
    services: Services,
    account: Account,
    serve: Serve,
    fake: FakeProvider,
) -> None:
    settings = services.settings.model_copy(update={"deadline_s": 0.6})
    url = await serve(replace(services, settings=settings))
    fake.then(Events(step=20, every_s=0.05))

    async with AsyncClient(base_url=url, headers={"authorization": f"Bearer {account.key}"}) as http:
        response = await http.post(GENERATIONS, json=BODY | {"partial_images": 1})

    assert read_events(response.text)[-1][1]["error"]["code"] == "upstream_timeout"
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_provider_that_answers_whole_gives_the_image_alone(
    client: AsyncClient, account: Account, fake: FakeProvider, image_tokens: int
) -> None:
    fake.then(Status(200, images_body(BODY)))

    response = await client.post(GENERATIONS, json=BODY | {"partial_images": 2})

    assert names(response.text) == [COMPLETED]
    assert await account.balance() == (LIVE_TOKENS - image_tokens, 0)


async def test_what_was_shown_by_a_call_that_failed_is_not_paid(
    client: AsyncClient, account: Account, fake: FakeProvider, image_tokens: int
) -> None:
    fake.then(Events(last=error_event("rate_limit_exceeded")), Events(previews=1))

    response = await client.post(GENERATIONS, json=BODY | {"partial_images": 2})

    assert names(response.text) == [PARTIAL, PARTIAL, PARTIAL, COMPLETED]
    assert await account.balance() == (LIVE_TOKENS - image_tokens - PREVIEW, 0)


@pytest.mark.parametrize("policy", ["block", "flag"])
async def test_where_outputs_are_judged_nothing_is_shown_before(
    services: Services, account: Account, serve: Serve, fake: FakeProvider, image_tokens: int, policy: str
) -> None:
    async with ModerationServer() as server:
        settings = {**server.openai, "moderation_output": True, "moderation_policy": policy}
        async with moderated(services, account, serve, **settings) as gateway:
            response = await gateway.draw(**BODY, partial_images=2)
            strict = await gateway.draw(**BODY, partial_images=2, strict=True)

    events = read_events(response.text)
    assert [name for name, _ in events] == [COMPLETED]
    assert events[0][1]["metadata"]["parameters"]["partial_images"] == {
        "treatment": "ignored",
        "detail": "this gateway's moderation looks at images before they are shown",
    }
    assert (strict.status_code, strict.json()["error"]["param"]) == (400, "partial_images")
    assert "stream" not in fake.requests[0].body
    assert await account.balance() == (LIVE_TOKENS - image_tokens, 0)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            {"model": "dall-e-3", "quality": "high"},
            "no price: it is not known what a preview of this model costs",
        ),
        ({"stream": False}, "only a stream has previews"),
    ],
)
async def test_where_there_are_none_it_is_said_why(
    client: AsyncClient, fake: FakeProvider, said: dict[str, Any], why: str
) -> None:
    response = await client.post(GENERATIONS, json=BODY | {"partial_images": 2} | said)

    data = response.json() if said.get("stream") is False else read_events(response.text)[0][1]
    assert data["metadata"]["parameters"]["partial_images"] == {"treatment": "ignored", "detail": why}


async def test_a_replay_shows_no_previews_and_another_number_of_them_is_another_request(
    client: AsyncClient, fake: FakeProvider
) -> None:
    headers = {"idempotency-key": "previews-1"}
    first = await client.post(GENERATIONS, json=BODY | {"partial_images": 2}, headers=headers)
    again = await client.post(GENERATIONS, json=BODY | {"partial_images": 2}, headers=headers)
    other = await client.post(GENERATIONS, json=BODY | {"partial_images": 1}, headers=headers)

    assert names(first.text) == [PARTIAL, PARTIAL, COMPLETED]
    assert names(again.text) == [COMPLETED]
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(fake.requests) == 1


async def test_a_test_key_sees_previews_too_and_pays_as_a_live_one(
    test_client: AsyncClient, account: Account, image_tokens: int
) -> None:
    response = await test_client.post(GENERATIONS, json=BODY | {"partial_images": 2})

    events = read_events(response.text)
    assert [name for name, _ in events] == [PARTIAL, PARTIAL, COMPLETED]
    assert [width_of(data["b64_json"]) for _, data in events] == [256, 512, 1024]
    assert [data["size"] for _, data in events] == ["256x256", "512x512", "1024x1024"]
    assert events[-1][1]["metadata"]["charged_tokens"] == image_tokens + 2 * PREVIEW


async def test_the_sandbox_shows_its_previews_while_it_is_slow(client: AsyncClient) -> None:
    body = {"prompt": "[[slow:0.4]] a heron", "model": "sandbox", "size": "64x64", "stream": True}
    arrived = []

    began = monotonic()
    async with client.stream("POST", GENERATIONS, json=body | {"partial_images": 3}) as response:
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                arrived.append(monotonic() - began)

    assert len(arrived) == 4
    assert arrived[0] < 0.3 < 0.4 <= arrived[3]
    assert arrived[1] - arrived[0] > 0.05


async def test_a_caller_s_own_key_pays_for_its_previews_at_the_provider(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    body = BODY | {"model": f"openai:{MODEL}", "partial_images": 2}

    response = await client.post(GENERATIONS, json=body, headers={"x-provider-key": KEY})

    assert names(response.text) == [PARTIAL, PARTIAL, COMPLETED]
    assert await account.balance() == (LIVE_TOKENS, 0)


def test_a_quote_that_is_recorded_comes_back_with_its_previews() -> None:
    quote = Quote("m/x", 7, Fraction(1000), 2, Size(64, 64), None, previews=3, preview_tokens=30)

    recorded = quote_json(Plan(Model("m/x", "m", 0, ()), quote, ()))

    assert recorded["previews"] == [3, 30]
    assert quote_from("m/x", recorded) == quote
    assert "previews" not in quote_json(Plan(Model("m/x", "m", 0, ()), replace(quote, previews=0), ()))
