"""The official client of OpenAI for Python, as it comes, against a running gateway."""

import asyncio
import base64
import io
import urllib.request

import openai
import pytest
from PIL import Image

from tests.clients.pictures import COST, PNG, SMALL, sizes
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status


async def test_the_sync_client_draws_and_follows_the_link(account: Account, base_url: str) -> None:
    def draw() -> tuple[openai.types.ImagesResponse, bytes]:
        with openai.OpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
            reply = client.images.generate(model="sandbox", prompt="a heron", size="512x512", n=2)
        with urllib.request.urlopen(reply.data[0].url) as linked:
            return reply, linked.read()

    reply, linked = await asyncio.to_thread(draw)

    assert len(reply.data) == 2
    assert linked == base64.b64decode(reply.data[0].b64_json)
    assert Image.open(io.BytesIO(linked)).size == (512, 512)
    assert await account.balance() == (LIVE_TOKENS - 30_000, 0)


async def test_the_async_client_gets_base64_and_reads_the_answer_s_fields(
    account: Account, base_url: str
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.test_key) as client:
        reply = await client.images.generate(
            model="gpt-image-2", prompt="a heron", size="1024x1024", quality="low", output_format="webp"
        )

    assert reply.data[0].url is None
    assert Image.open(io.BytesIO(base64.b64decode(reply.data[0].b64_json))).format == "WEBP"
    assert (reply.size, reply.quality, reply.output_format) == ("1024x1024", "low", "webp")
    assert isinstance(reply.created, int)


@pytest.mark.parametrize("prefix", ["/v1", "/v1/", "/openai/v1", "/api/v1"])
async def test_the_client_may_come_by_every_prefix(account: Account, base_url: str, prefix: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url + prefix, api_key=account.key) as client:
        reply = await client.images.generate(**SMALL)
        edited = await client.images.edit(image=PNG, **SMALL)

    assert sizes([reply.data[0].b64_json, edited.data[0].b64_json]) == [(256, 256)] * 2
    assert await account.balance() == (LIVE_TOKENS - 2 * COST, 0)


async def test_a_base_url_without_its_version_is_told_what_is_missing(
    account: Account, base_url: str
) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key=account.key) as client:
        with pytest.raises(openai.NotFoundError, match="ends in /v1"):
            await client.images.generate(**SMALL)


async def test_an_empty_wallet_stops_the_client_at_once(account: Account, base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await client.images.generate(
                model="dall-e-3", prompt="a heron", size="1792x1024", quality="hd", n=10
            )

    assert raised.value.status_code == 402
    assert raised.value.code == "insufficient_quota"
    assert "1200000 tokens" in raised.value.message


async def test_the_client_s_own_retries_do_not_pay_twice(
    account: Account, base_url: str, fake: FakeProvider
) -> None:
    fake.default = Status(500)

    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        with pytest.raises(openai.InternalServerError):
            await client.images.generate(model="gpt-image-2", prompt="a heron", size="1024x1024")

    assert len(fake.requests) == 1
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_the_client_raises_its_own_errors(account: Account, base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        with pytest.raises(openai.NotFoundError, match="Did you mean"):
            await client.images.generate(model="dall-e-4", prompt="a heron")
        with pytest.raises(openai.BadRequestError, match="moderation"):
            await client.images.generate(model="sandbox", prompt="[[refuse]] a heron")
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key="sk-wrong") as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.images.generate(model="sandbox", prompt="a heron")


async def test_the_client_lists_and_describes_models(account: Account, base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=account.key) as client:
        listed = [model async for model in client.models.list()]
        retired = await client.models.retrieve("dall-e-3")

    ids = {model.id for model in listed}
    assert {
        "imagegate/sandbox",
        "openai/dall-e-3",
        "openai/gpt-image-2",
        "google/imagen-4.0-generate-001",
    } <= ids
    assert retired.id == "openai/dall-e-3"
    assert retired.shutdown_date == "2026-05-12"
    assert retired.model_extra["successor"] == "openai/gpt-image-2.5-flare"
