"""LangChain's wrapper of DALL·E, which knows links alone."""

import asyncio
import urllib.request

import openai
import pytest

from tests.clients.pictures import COST, size_of
from tests.conftest import LIVE_TOKENS, Account

pytestmark = pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset:DeprecationWarning")


def run(base_url: str, key: str, prompt: str, n: int = 1) -> str:
    from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

    wrapper = DallEAPIWrapper(model="sandbox", api_key=key, base_url=base_url, size="256x256", n=n)
    try:
        return str(wrapper.run(prompt))
    finally:
        wrapper.client._client.close()  # it is left open otherwise, and collected in a later test


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1", "/api/v1"])
async def test_it_gives_links_that_lead_to_the_pictures(account: Account, base_url: str, prefix: str) -> None:
    links = (await asyncio.to_thread(run, base_url + prefix, account.key, "a heron", 2)).split("\n")

    def follow(link: str) -> bytes:
        with urllib.request.urlopen(link) as linked:
            content: bytes = linked.read()
            return content

    assert [size_of(await asyncio.to_thread(follow, link)) for link in links] == [(256, 256)] * 2
    assert await account.balance() == (LIVE_TOKENS - 2 * COST, 0)


async def test_it_raises_what_the_gateway_says(account: Account, poor: Account, base_url: str) -> None:
    url = f"{base_url}/v1"

    with pytest.raises(openai.BadRequestError, match="moderation"):
        await asyncio.to_thread(run, url, account.key, "[[refuse]] a heron")
    with pytest.raises(openai.APIStatusError, match="5000 tokens"):
        await asyncio.to_thread(run, url, poor.key, "a heron")
    with pytest.raises(openai.AuthenticationError):
        await asyncio.to_thread(run, url, "sk-wrong", "a heron")
