"""Every URL that is not ours: what a provider answers, where a caller wants to be told, what the environment names.

Pictures that callers name by URL are attacked in tests/line/test_hostile_urls.py; all share the corpus.
"""

import re
from ipaddress import ip_address

import pytest
from httpx import AsyncClient
from pydantic import SecretStr

from imagegate.errors import NotSent, OperatorError
from imagegate.identity.operators import SCOPES
from imagegate.outbound.guard import is_public
from imagegate.services import Services
from imagegate.settings.providers import read_providers
from tests.admin.conftest import Issue, issue
from tests.attackers.routes import schema, shape
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Links
from tests.line.hostile_urls import corpus
from tests.line.test_hostile_urls import Attempts, attempts, listener

__all__ = ["attempts", "issue", "listener"]

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox", "model": "dall-e-2", "size": "256x256"}
JOB = {"prompt": "a fox", "model": "sandbox", "size": "256x256", "async": True}
ONLY_A_NAME = re.compile(
    r"https://(metadata\.google\.internal|localhost\.localdomain|a{9000}\.example)(\.|/|$)"
)
"""What only a look-up can tell; it is made, and refused, when the event goes out."""


@pytest.mark.parametrize("every", range(4))
async def test_a_result_that_lies_in_our_own_network_is_no_result(
    client: AsyncClient,
    account: Account,
    services: Services,
    fake: FakeProvider,
    listener: tuple[int, list[object]],
    attempts: Attempts,
    every: int,
) -> None:
    port, came = listener

    for url in list(corpus(port))[every::12]:
        fake.then(Links(url))
        answer = await client.post(PATH, json=BODY)
        services.health.forget()
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "all_providers_failed"), url
        assert url not in answer.text

    assert (came, attempts, fake.fetched) == ([], [], [])
    assert await account.balance() == (LIVE_TOKENS, 0)


def hooks(port: int) -> list[str]:
    """The corpus as it is, and by https where it is not."""
    found = list(corpus(port))
    secure = [f"https{url.removeprefix('http')}" for url in found if url.startswith("http:")]
    return found + [url for url in secure if ":1/" not in url]


async def test_no_caller_is_told_anything_in_our_own_network(
    client: AsyncClient, account: Account, listener: tuple[int, list[object]], attempts: Attempts
) -> None:
    port, came = listener
    assert len(hooks(port)) > 200
    told = set()

    for url in hooks(port):
        answer = await client.post(PATH, json=JOB | {"webhook_url": url})
        if answer.status_code == 202:
            assert ONLY_A_NAME.match(url), url
            await client.post(f"{PATH}/{answer.json()['id']}/cancel")
            continue
        status, body, _ = shape(answer)
        assert status == 400, (url, answer.text)
        told.add(body)

    assert len([body for body in told if "webhook_url_not_allowed" in body]) == 1
    assert all("webhook_url" in body for body in told), told
    assert len(told) <= 2, "a URL that is too long may be told so"
    assert (came, attempts) == ([], [])
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_no_operator_sets_a_receiver_in_our_own_network(
    account: Account, issue: Issue, attempts: Attempts
) -> None:
    admin = await issue(*SCOPES)

    for url in hooks(8)[::5]:
        body = {"account": account.name, "env": "live", "url": url, "reason": "a test"}
        answer = await admin.post("/webhooks/endpoints", json=body)
        if answer.status_code == 200:
            assert ONLY_A_NAME.match(url), url
            sent = await admin.post("/webhooks/test", json={"account": account.name, "env": "live"})
            assert (sent.status_code, sent.json()["delivered"]) == (200, False), sent.text
        else:
            assert answer.status_code == 400, (url, answer.text)

    assert attempts == []


def test_every_field_that_takes_an_address_is_attacked_somewhere() -> None:
    """A new one shows up here: it belongs into the corpus of its kind."""
    found = {
        name
        for methods in schema()["paths"].values()
        for said in methods.values()
        for content in said.get("requestBody", {}).get("content", {}).values()
        for name in content["schema"].get("properties", {})
        if "url" in name
        or "uri" in name
        or name in ("image", "images", "mask", "input_references", "callback")
    }

    pictures = {"image", "images", "mask", "input_references", "image_url"}
    assert found - pictures == {"webhook_url", "url"}
    assert pictures >= found & pictures


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "ftp://127.0.0.1/",
        "unix:///var/run/docker.sock",
        "//127.0.0.1",
        "",
    ],
)
async def test_a_provider_s_place_that_is_not_http_is_asked_nothing(
    services: Services, attempts: Attempts, url: str
) -> None:
    with pytest.raises(NotSent):
        await services.outbound.post_json(
            f"{url}/images/generations", body={}, headers={}, provider="openai", timeout_s=2
        )

    assert attempts == []


@pytest.mark.parametrize(
    "url",
    ["https://user:pass@api.example/v1", "http://sk-key@10.0.0.1", "https://a:b@host?x", "//u:p@host/v1"],
)
def test_a_password_in_a_provider_s_place_refuses_the_start(url: str) -> None:
    with pytest.raises(
        OperatorError, match="IMAGEGATE_OPENAI_BASE_URL holds a user name or a password"
    ) as error:
        read_providers({"IMAGEGATE_OPENAI_BASE_URL": url})

    assert "pass" not in str(error.value).replace("a password", "")
    assert "sk-key" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1:8000/v1", "https://host/v1/user@example", "http://[::1]/v1?a=b@c"]
)
def test_a_server_of_one_s_own_may_lie_in_the_own_network(url: str) -> None:
    settings = read_providers({"IMAGEGATE_OPENAI_BASE_URL": url, "IMAGEGATE_OPENAI_API_KEY": "sk-x"})

    assert settings["openai"].base_url == url
    assert settings["openai"].api_key == SecretStr("sk-x")


@pytest.mark.parametrize(
    "address",
    [
        "0.1.2.3",
        "100.127.255.255",
        "127.255.255.255",
        "169.254.170.2",  # credentials of AWS's containers
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.2",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "233.252.0.1",
        "255.255.255.254",
        "::",
        "::2",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::168.63.129.16",
        "64:ff9b:1::1.1.1.1",
        "100::1",
        "100:0:0:1::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8:ffff::1",
        "2002:a00:1::1",
        "2002:c0a8:1::",
        "2002:a83f:8110::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "5f00::1",
        "fd00:ec2::23",
        "fe80::a9fe:a9fe",
        "febf::1",
        "ff0e::1",
    ],
)
def test_no_address_of_a_special_purpose_is_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["2400:cb00::1", "3ffe::1", "9.9.9.9", "192.0.1.1", "172.32.0.1", "100.128.0.1"]
)
def test_what_lies_beside_them_is(address: str) -> None:
    assert is_public(ip_address(address))
