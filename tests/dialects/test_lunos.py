"""Lunos's routes that make images: its page's example, its client's bodies, its errors and its retries."""

import asyncio
import base64
import io
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from PIL import Image
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.generation.varying import PROMPT
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, Wait
from tests.media.pictures import encoded, picture

GENERATIONS, EDITS, VARIATIONS = (f"/v1/image/{name}" for name in ("generations", "edits", "variations"))
EXAMPLE = {
    "model": "openai/dall-e-3",
    "prompt": "A cute robot playing with a cat",
    "n": 1,
    "size": "1024x1024",
    "quality": "hd",
    "response_format": "url",
}
SANDBOX = {"prompt": "a heron", "model": "sandbox", "size": "256x256"}
PNG = encoded("png", picture("RGB", 256, 256))
MASK = encoded("png", picture("RGBA", 256, 256))
PICTURE = base64.b64encode(PNG).decode()
FIELDS = {"image": PICTURE, "prompt": "a boat", "model": "sandbox", "size": "256x256"}


def drawn(told: dict[str, Any], index: int = 0) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(told["data"][index]["b64_json"]))).convert("RGB")


async def test_the_example_of_the_page_tells_link_model_and_cost(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    response = await client.post(GENERATIONS, json=EXAMPLE, headers={"X-App-ID": "my-image-generator-v1.0"})

    told = response.json()
    assert response.status_code == 200, told
    assert (told["model"], told["cost"], told["size"]) == ("openai/dall-e-3", 0.08, "1024x1024")
    assert isinstance(told["created"], int)
    assert [set(item) for item in told["data"]] == [{"url", "image_id"}]
    assert (await client.get(told["data"][0]["url"])).headers["content-type"].startswith("image/")
    assert told["metadata"]["app"] == "my-image-generator-v1.0"
    assert await account.balance() == (LIVE_TOKENS - 80_000, 0)


async def test_links_are_what_comes_when_nothing_is_said(client: AsyncClient) -> None:
    told = (await client.post(GENERATIONS, json=SANDBOX | {"n": 2})).json()

    assert [set(item) for item in told["data"]] == [{"url", "image_id"}] * 2


async def test_base64_is_the_picture_itself(client: AsyncClient) -> None:
    told = (await client.post(GENERATIONS, json=SANDBOX | {"response_format": "b64_json"})).json()

    assert [set(item) for item in told["data"]] == [{"b64_json", "image_id"}]
    assert drawn(told).size == (256, 256)


async def test_a_picture_that_was_made_is_edited_by_its_id(client: AsyncClient) -> None:
    made = (await client.post(GENERATIONS, json=SANDBOX)).json()["data"][0]["image_id"]

    response = await client.post(EDITS, json=FIELDS | {"image": made})

    assert response.status_code == 200, response.text


async def test_width_and_height_are_a_size(client: AsyncClient) -> None:
    body = {"prompt": "a panorama", "model": "sandbox", "width": 512, "height": 256, "seed": 7}

    told = (await client.post(GENERATIONS, json=body)).json()

    assert told["size"] == "512x256"
    assert told["metadata"]["parameters"]["seed"] == {"treatment": "passed"}


@pytest.mark.parametrize("image", [PICTURE, f"data:image/png;base64,{PICTURE}"])
async def test_an_edit_takes_a_picture_and_a_mask_in_json(client: AsyncClient, image: str) -> None:
    mask = base64.b64encode(MASK).decode()
    body = FIELDS | {"image": image, "mask": mask, "response_format": "b64_json"}

    response = await client.post(EDITS, json=body)

    assert response.status_code == 200, response.text
    upper, original = (i.crop((0, 0, 256, 100)) for i in (drawn(response.json()), picture("RGB", 256, 256)))
    assert upper.tobytes() == original.tobytes()


async def test_a_picture_may_be_a_url_but_not_of_a_private_address(client: AsyncClient) -> None:
    response = await client.post(EDITS, json=FIELDS | {"image": "http://169.254.169.254/latest/meta-data"})

    assert (response.status_code, response.json()["error"]["code"]) == (400, "image_url_not_allowed")


async def test_an_edit_without_a_picture_is_told_so(client: AsyncClient, account: Account) -> None:
    response = await client.post(EDITS, json={"prompt": "a boat", "model": "sandbox"})

    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (
        400,
        "image",
        "missing_required_parameter",
    )
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_variations_are_edits_with_a_prompt_of_ours(
    client: AsyncClient, account: Account, engine: AsyncEngine
) -> None:
    body = {"image": PICTURE, "model": "sandbox", "n": 3, "size": "256x256"}

    told = (await client.post(VARIATIONS, json=body)).json()

    assert len(told["data"]) == 3
    assert told["metadata"]["parameters"]["variation"]["treatment"] == "emulated"
    async with engine.connect() as connection:
        query = text("SELECT request ->> 'prompt' FROM generations WHERE account_id = :id")
        assert (await connection.execute(query, {"id": account.id})).scalar_one() == PROMPT


@pytest.mark.parametrize("said", [{}, {"model": "openai/dall-e-3"}])
async def test_variations_are_made_by_the_configured_model_where_none_that_edits_is_named(
    client: AsyncClient, fake: FakeProvider, said: dict[str, Any]
) -> None:
    body = {"image": PICTURE, "size": "1024x1024", "quality": "standard"} | said

    response = await client.post(VARIATIONS, json=body)

    assert response.status_code == 200, response.text
    assert response.json()["model"] == "openai/gpt-image-2.5-flare"
    assert ("model" in response.json()["metadata"]["parameters"]) == bool(said)


async def test_an_unknown_model_of_a_variation_is_a_404(client: AsyncClient) -> None:
    response = await client.post(VARIATIONS, json={"image": PICTURE, "model": "openai/no-such-model"})

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "model_not_found")
    assert "model" in error["message"]  # by this word the client tries its fallback model


@pytest.mark.parametrize("path", [GENERATIONS, EDITS, VARIATIONS])
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 0}, "n"),
        ({"size": "wide"}, "size"),
        ({"width": 512}, "height"),
        ({"quality": "best"}, "quality"),
        ({"appId": 7}, "appId"),
        ({"appId": "x" * 201}, "appId"),
        ({"appId": "a\nb"}, "appId"),
        ({"base_url": "http://elsewhere"}, "base_url"),
    ],
)
async def test_bad_values_name_their_field(
    client: AsyncClient, account: Account, path: str, change: dict[str, Any], param: str
) -> None:
    known = {name: value for name, value in FIELDS.items() if name != "size"}

    response = await client.post(path, json=known | change)

    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param), error
    assert set(error) == {"code", "message", "param", "type"}
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_wrong_key_and_an_empty_wallet_have_the_errors_of_the_client(
    services: Services, engine: AsyncEngine, base_url: str
) -> None:
    poor = await open_account(services, engine, live_tokens=0)

    async with AsyncClient(base_url=base_url) as http:
        keys = ("igk_live_nonsense", poor.key)
        wrong, empty = [
            await http.post(GENERATIONS, json=EXAMPLE, headers={"authorization": f"Bearer {key}"})
            for key in keys
        ]

    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (empty.status_code, empty.json()["error"]["code"]) == (402, "insufficient_quota")
    assert set(empty.json()["error"]) == {"code", "message", "param", "type"}


async def test_a_dry_run_tells_the_price(client: AsyncClient, account: Account) -> None:
    response = await client.post(GENERATIONS, params={"dryRun": "true"}, json=EXAMPLE)

    assert response.json()["hold_tokens"] == 80_000
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_four_tries_of_the_client_pay_for_the_one_that_gives_a_picture(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    fake.then(*[Status(400)] * 3)

    answers = [await client.post(GENERATIONS, json=EXAMPLE) for _ in range(4)]

    assert [a.status_code for a in answers] == [400, 400, 400, 200]
    assert await account.balance() == (LIVE_TOKENS - 80_000, 0)


async def test_a_client_whose_timer_ends_is_given_the_same_picture_when_it_asks_again(
    client: AsyncClient, account: Account, base_url: str, engine: AsyncEngine, fake: FakeProvider
) -> None:
    gate, body = asyncio.Event(), EXAMPLE | {"prompt": f"a robot {uuid4()}"}
    fake.then(Wait(gate))
    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as impatient:
        asking = asyncio.create_task(impatient.post(GENERATIONS, json=body))
        await fake.arrived(1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    async with asyncio.timeout(10), engine.connect() as connection:
        left = text("SELECT count(*) FROM generations WHERE account_id = :id AND abandoned_at IS NOT NULL")
        while not (await connection.execute(left, {"id": account.id})).scalar_one():
            await asyncio.sleep(0.02)

    gate.set()
    again = await client.post(GENERATIONS, json=body)

    assert again.headers["idempotent-replayed"] == "true"
    assert (len(fake.requests), await account.balance()) == (1, (LIVE_TOKENS - 80_000, 0))
