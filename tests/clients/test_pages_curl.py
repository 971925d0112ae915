"""The commands on public pages of five products: host and key are ours, every other letter is theirs.

Lumenfall's page has none.
"""

import asyncio
import json
import subprocess
from shutil import which
from typing import Any

import pytest
from httpx import AsyncClient

from tests.clients.pictures import size_of
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import KEY, FakeProvider

pytestmark = pytest.mark.skipif(which("curl") is None, reason="curl is not installed")

LUNTREX = r"""curl --location "https://luntrex.com/api/v1/images/generate" \
  --header "Authorization: Bearer <YOUR_API_KEY>" \
  --header "Content-Type: application/json" \
  --data-raw '{
    "prompt": "Landscape with mountains and rivers",
    "size": "512x512",
    "n": 1,
    "model": "openai/dall-e-2"
  }'"""
LUNOS = """curl -X POST https://api.lunos.tech/v1/image/generations -H "Content-Type: application/json" \
-H "Authorization: Bearer YOUR_API_KEY" -H "X-App-ID: my-image-generator-v1.0" -d '{
 "model": "openai/dall-e-3",
 "prompt": "A cute robot playing with a cat",
 "n": 1,
 "size": "1024x1024",
 "quality": "hd",
 "response_format": "url"
 }'"""
LLM_HUB = r"""curl https://api.llmhub.one/v1/images/generations \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $LLMHUB_API_KEY" \
  -d '{
    "model": "dall-e-3",
    "prompt": "A futuristic robot in a garden",
    "size": "1024x1024",
    "quality": "hd",
    "n": 1
  }'"""
LANGBASE = r"""curl https://api.langbase.com/v1/images \
-X POST \
-H 'Authorization: Bearer <YOUR_API_KEY>' \
-H 'LB-LLM-Key: <YOUR_OPENAI_KEY>' \
-H 'Content-Type: application/json' \
-d '{
"prompt": "A futuristic cityscape with flying cars and neon lights",
"model": "openai:gpt-image-1",
"size": "1024x1024"
}'"""


async def run(command: str, replaced: dict[str, str]) -> Any:
    """What the command prints, as JSON."""
    for theirs, ours in replaced.items():
        assert theirs in command
        command = command.replace(theirs, ours)
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def fetched(client: AsyncClient, url: str) -> tuple[int, int]:
    return size_of((await client.get(url)).content)


async def test_luntrex_s_command(
    account: Account, base_url: str, client: AsyncClient, fake: FakeProvider
) -> None:
    told = await run(LUNTREX, {"https://luntrex.com": base_url, "<YOUR_API_KEY>": account.key})

    (image,) = told["images"]
    assert await fetched(client, image) == (512, 512)
    assert told["usage"] == {"cost_tokens": 15_000, "n": 1, "size": "512x512"}
    assert told["balance_left"] == (await account.balance())[0] == LIVE_TOKENS - 15_000


async def test_lunos_s_command(
    account: Account, base_url: str, client: AsyncClient, fake: FakeProvider
) -> None:
    told = await run(LUNOS, {"https://api.lunos.tech": base_url, "YOUR_API_KEY": account.key})

    (image,) = told["data"]
    assert await fetched(client, image["url"]) == (1024, 1024)
    assert told["model"]
    assert told["cost"] > 0
    (generation,) = (await client.get("/v1/images/generations")).json()["data"]
    assert generation["charged_tokens"] == LIVE_TOKENS - (await account.balance())[0]


async def test_llm_hub_s_command(
    account: Account, base_url: str, client: AsyncClient, fake: FakeProvider
) -> None:
    told = await run(LLM_HUB, {"https://api.llmhub.one": base_url, "$LLMHUB_API_KEY": account.key})

    (image,) = told["data"]
    assert await fetched(client, image["url"]) == (1024, 1024)
    assert LIVE_TOKENS - (await account.balance())[0] == told["metadata"]["charged_tokens"] > 0


async def test_langbase_s_command(
    account: Account, base_url: str, client: AsyncClient, fake: FakeProvider
) -> None:
    ours = {"https://api.langbase.com": base_url, "<YOUR_API_KEY>": account.key, "<YOUR_OPENAI_KEY>": KEY}

    told = await run(LANGBASE, ours)

    (choice,) = told["choices"]
    (image,) = choice["message"]["images"]
    assert await fetched(client, image["image_url"]["url"]) == (1024, 1024)
    assert (told["provider"], told["model"]) == ("openai", "gpt-image-1")
    assert await account.balance() == (LIVE_TOKENS, 0)
