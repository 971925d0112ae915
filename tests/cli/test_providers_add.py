"""`imagegate providers add`: a key is asked with, and kept when it is accepted."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.cli.conftest import Shell
from tests.fake_provider import FakeProvider

pytestmark = pytest.mark.long

PLAIN, OTHER = "sk-0123456789abcdefADDA", "sk-0123456789abcdefADDB"


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(key=None) as fake:
        yield fake


async def test_a_key_is_tried_and_sealed_and_a_refused_one_is_not_kept(
    shell: Shell, fake: FakeProvider
) -> None:
    having = shell.having(MY_KEY=PLAIN, IMAGEGATE_OPENAI_BASE_URL=fake.base_url)
    words = ("providers", "add", "openai", "--from-env", "MY_KEY", "--name", "first")

    fake.pages["/v1/models"] = (401, {}, b"{}")
    refused = await asyncio.to_thread(having.run, *words)
    after = await asyncio.to_thread(having.json, "providers", "show", "openai")
    fake.pages["/v1/models"] = (200, {}, b"{}")
    added = await asyncio.to_thread(having.json, *words)
    again = await asyncio.to_thread(having.run, *words)

    assert refused.code == 1
    assert "refuses the key (401)" in refused.out
    assert "imagegate providers add openai --untested" in refused.out
    assert after["keys"] == []
    assert (added["key"]["hint"], added["test"]["ok"], added["provider"]["available"]) == ("ADDA", True, True)
    assert again.code == 1
    assert fake.requests == []
    assert PLAIN not in str(added) + refused.out + refused.err + again.out + again.err
    shell.json("providers", "revoke-key", added["key"]["id"], "--reason", "a test")


def test_what_cannot_be_asked_is_kept_and_what_it_lacks_is_told(shell: Shell) -> None:
    having = shell.having(MY_KEY=OTHER)

    azure = having.run("providers", "add", "azure_openai", "--from-env", "MY_KEY")
    having.json("providers", "disable", "recraft", "--reason", "not yet")
    unasked = having.run("providers", "add", "recraft", "--from-env", "MY_KEY", "--untested")

    assert (azure.code, unasked.code) == (0, 0)
    assert "It also needs IMAGEGATE_AZURE_OPENAI_BASE_URL." in azure.out
    assert "Nobody has proved it yet: imagegate providers test azure_openai --draw" in azure.out
    assert "It is disabled (not yet): imagegate providers enable recraft --reason TEXT" in unasked.out
    shell.json("providers", "enable", "recraft", "--reason", "a test")
    for name in ("azure_openai", "recraft"):
        (key,) = [k for k in shell.json("providers", "show", name)["keys"] if k["hint"] == "ADDB"]
        shell.json("providers", "revoke-key", key["id"], "--reason", "a test")


def test_a_wrong_name_or_place_is_refused(shell: Shell) -> None:
    unknown = shell.having(MY_KEY=PLAIN).refused("providers", "add", "opnai", "--from-env", "MY_KEY")

    assert unknown["code"] == "not_found"
    assert "openai" in unknown["message"]
    assert shell.run("providers", "add", "openai").code == 2
    assert shell.run("providers", "add", "openai", "--from-stdin", "--from-env", "MY_KEY").code == 2
