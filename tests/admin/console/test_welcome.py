"""Welcome: the first key, the first provider, and code that works."""

import re
from uuid import uuid4

from httpx import AsyncClient

from imagegate.admin.console.requests import redacted
from tests.admin.console.conftest import Seat
from tests.conftest import Account
from tests.fake_provider import FakeProvider

PAGE = "/console/welcome"


async def test_the_key_that_the_page_makes_works_and_is_shown_once(
    writer: Seat, account: Account, base_url: str
) -> None:
    before = (await writer.get(PAGE)).text
    made = (await writer.post(f"{PAGE}/key", account=account.name, env="test")).text
    (key,) = set(re.findall(r"igk_test_[0-9A-Za-z]{49}", made))
    after = (await writer.get(PAGE)).text
    async with AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {key}"}) as http:
        body = {"model": "sandbox", "prompt": "a lighthouse", "size": "256x256"}
        answer = await http.post("/v1/images/generations", json=body)
    drawn = (await writer.get(PAGE)).text

    assert answer.status_code == 200
    assert made.count(key) == 6  # by itself, and in the code of five clients
    assert key not in before + after + drawn
    assert f"/console/pictures/{answer.json()['metadata']['id']}/0.webp" in drawn


async def test_a_key_at_a_provider_is_tested_and_not_kept(writer: Seat, fake: FakeProvider) -> None:
    secret, before = f"sk-{uuid4().hex}", len(fake.fetched)

    fake.pages["/v1/models"] = (200, {}, b"{}")
    good = (await writer.post(f"{PAGE}/provider/test", provider="openai", key=secret)).text
    fake.pages["/v1/models"] = (401, {}, b"{}")
    bad = (await writer.post(f"{PAGE}/provider/test", provider="openai", key=secret)).text
    del fake.pages["/v1/models"]
    odd = (await writer.post(f"{PAGE}/provider/test", provider="openai", key="two words")).text
    keys = (await writer.get("/console/providers/openai.json")).json()["data"][0]["keys"]

    sent = [request.headers["authorization"] for request in fake.fetched[before:]]
    assert sent == [f"Bearer {secret}"] * 2
    assert "accepts the key" in good
    assert "refuses the key (401)" in bad
    assert "A key has no blanks" in odd
    assert all("Nothing was kept." in page and secret not in page for page in (good, bad, odd))
    assert [key["id"] for key in keys] == ["env:1"]


async def test_an_added_key_is_sealed_and_said_to_be_wrong_where_it_is(writer: Seat) -> None:
    secret = f"rk-{uuid4().hex}"

    page = (await writer.post(f"{PAGE}/provider", provider="recraft", key=secret, name="first")).text
    keys = (await writer.get("/console/providers/recraft.json")).json()["data"][0]["keys"]
    (kept,) = [key for key in keys if key["hint"] == secret[-4:]]
    await writer.post("/console/providers/recraft/keys/revoke", key=kept["id"])

    assert "The key was added, sealed." in page
    assert "could not be reached" in page
    assert secret not in page
    assert kept["name"] == "first"


async def test_what_is_missing_in_the_form_is_said(writer: Seat) -> None:
    answers = [
        await writer.post(f"{PAGE}/key", account="", env="test"),
        await writer.post(f"{PAGE}/provider/test", provider="openai", key=""),
        await writer.post(f"{PAGE}/provider/test", provider="nobody", key="k"),
        await writer.post(f"{PAGE}/key", account="nobody at all", env="test"),
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 404, 404]


def test_what_names_end_users_or_signs_addresses_is_not_shown() -> None:
    said = {
        "prompt": "see https://example.com?q=1",
        "user": "somebody",
        "images": [{"url": "https://example.com/a.png?X-Amz-Signature=abc"}, {"image_id": "gen_0"}],
    }

    assert redacted(said) == {
        "prompt": "see https://example.com?q=1",
        "user": "…",
        "images": [{"url": "https://example.com/a.png?…"}, {"image_id": "gen_0"}],
    }
