"""Clients of Node.js, as they come, against a running gateway. They are not run where npm cannot install them."""

from typing import Any

import pytest

from tests.clients.node import Node
from tests.clients.pictures import COST, MASK_BASE64, PNG_BASE64, sizes
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import KEY, FakeProvider

ONE = [(256, 256)]


@pytest.fixture
def common(account: Account, poor: Account, base_url: str) -> dict[str, str]:
    return {"url": base_url, "key": account.key, "poor_key": poor.key}


async def test_openai_node_draws_edits_varies_and_streams(
    node: Node, common: dict[str, str], account: Account
) -> None:
    told = await node.run("openai", **common, png=PNG_BASE64, mask=MASK_BASE64)

    *prefixed, bare = told["prefixes"]
    assert [sizes(images) for images in prefixed] == [ONE] * 3
    assert bare["status"] == 404
    assert "ends in /v1" in bare["message"]
    assert sizes(told["edited"]) == sizes(told["masked"]) == sizes(told["varied"]) == ONE
    assert sizes(told["several"]) == ONE * 2
    (event,) = told["events"]
    assert (event["type"], sizes([event["b64_json"]])) == ("image_generation.completed", ONE)
    assert await account.balance() == (LIVE_TOKENS - 9 * COST, 0)


async def test_openai_node_shows_what_went_wrong(node: Node, common: dict[str, str]) -> None:
    told = await node.run("openai", **common, png=PNG_BASE64, mask=MASK_BASE64)

    assert (told["noKey"]["status"], told["noKey"]["code"]) == (401, "invalid_api_key")
    assert (told["noMoney"]["status"], told["noMoney"]["code"]) == (402, "insufficient_quota")
    assert "5000 tokens" in told["noMoney"]["message"]
    assert (told["refused"]["status"], told["refused"]["code"]) == (400, "moderation_blocked")
    assert told["refused"]["type"] == "image_generation_user_error"


async def test_the_ai_sdk_draws_by_both_of_its_providers(
    node: Node, common: dict[str, str], account: Account
) -> None:
    told = await node.run("ai_sdk", **common)

    for maker in ("openai", "compatible"):
        assert [sizes(images) for images in told[maker]["prefixes"]] == [ONE * 2] * 3
        assert told[maker]["noKey"]["status"] == 401
        assert told[maker]["noMoney"]["status"] == 402
        assert "Top the wallet up" in told[maker]["noMoney"]["message"]
        assert told[maker]["refused"]["status"] == 400
        assert "moderation" in told[maker]["refused"]["message"]
    assert await account.balance() == (LIVE_TOKENS - 12 * COST, 0)


async def test_the_client_of_lunos_draws_and_edits(
    node: Node, common: dict[str, str], account: Account
) -> None:
    told = await node.run("lunos", **common, png=PNG_BASE64)

    assert sizes(image["b64_json"] for image in told["made"]["data"]) == ONE * 2
    assert sizes(image["b64_json"] for image in told["edited"]["data"]) == ONE
    assert told["noKey"]["status"] == 401
    assert told["noMoney"]["status"] == 402
    assert "5000 tokens" in told["noMoney"]["message"]
    assert "moderation" in told["refused"]["message"]
    assert await account.balance() == (LIVE_TOKENS - 3 * COST, 0)


async def test_the_client_of_langbase_draws_with_the_caller_s_own_key(
    node: Node, common: dict[str, str], account: Account, fake: FakeProvider
) -> None:
    told = await node.run("langbase", **common, own_key=KEY)

    (choice,) = told["made"]["choices"]
    (image,) = choice["message"]["images"]
    assert image["image_url"]["url"].startswith(common["url"])
    assert fake.violations == []
    for name, text in MESSAGES.items():
        assert text in told[name]["message"], told[name]
    assert await account.balance() == (LIVE_TOKENS, 0)


MESSAGES: dict[str, Any] = {
    "noKey": "API key",
    "noMoney": "tokens",
    "refused": "moderation",
    "wrongOwnKey": "key",
}
