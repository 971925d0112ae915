"""What one creating call sends, and how its answer comes back."""

from collections.abc import AsyncIterator

import httpx
import pytest

from imagegate.errors import Ambiguous, NotSent
from imagegate.outbound import Outbound, open_outbound
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import Drip
from tests.post_cases import BODY, closed_port, post


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with open_outbound() as outbound:
        yield outbound


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


async def test_an_answer_comes_back_whole_with_its_status_and_headers(
    outbound: Outbound, fake: FakeProvider
) -> None:
    answer = await post(outbound, fake.base_url)

    assert answer.status == 200
    assert answer.headers["X-Request-ID"] == "req_fake"
    assert answer.json()["data"][0]["b64_json"].startswith("iVBOR")
    assert fake.violations == []


async def test_the_request_carries_the_body_the_key_and_nothing_surprising(
    outbound: Outbound, fake: FakeProvider
) -> None:
    await post(outbound, fake.base_url)

    request = fake.requests[0]
    assert request.body == BODY
    assert request.headers["host"] == f"127.0.0.1:{fake.port}"
    assert request.headers["user-agent"].startswith("imagegate/")
    assert request.headers["accept-encoding"] == "identity"
    assert sorted(request.headers) == [
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    ]


async def test_an_answer_in_drips_is_put_together(outbound: Outbound, fake: FakeProvider) -> None:
    fake.then(Drip(pieces=7, every_s=0.0))

    answer = await post(outbound, fake.base_url)

    assert len(answer.json()["data"]) == 1


async def test_megabytes_are_sent_unharmed(outbound: Outbound, fake: FakeProvider) -> None:
    body = b'{"model":"m","prompt":"' + b"x" * 3_000_000 + b'"}'

    await outbound.post_json(
        f"{fake.base_url}/images/generations",
        body=body,
        headers={"Authorization": f"Bearer {KEY}"},
        provider="fake",
        timeout_s=5.0,
    )

    assert fake.requests[0].raw == body


async def test_a_proxy_of_the_environment_is_not_used(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    async with open_outbound() as outbound:
        assert (await post(outbound, fake.base_url)).status == 200


@pytest.mark.parametrize(
    "base_url", ["api.example.com/v1", "file:///etc", "http://", "http://u:p@127.0.0.1/v1", "http://h\x00/v1"]
)
async def test_a_base_url_that_is_none_is_not_sent(outbound: Outbound, base_url: str) -> None:
    with pytest.raises(NotSent, match="cannot be used"):
        await post(outbound, base_url)


@pytest.mark.parametrize("key", ["sk\r\nx-evil: 1", "ключ"])
async def test_a_key_that_would_break_the_header_is_not_sent(
    outbound: Outbound, fake: FakeProvider, key: str
) -> None:
    with pytest.raises(NotSent, match="cannot be used"):
        await outbound.post_json(
            fake.base_url, body=BODY, headers={"Authorization": key}, provider="fake", timeout_s=1.0
        )
    assert fake.connections == 0


async def test_another_transport_can_stand_in() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(418, json={"path": request.url.path}))

    async with open_outbound(api=transport) as outbound:
        answer = await post(outbound, "https://api.example.com/v1")

    assert (answer.status, answer.json()) == (418, {"path": "/v1/images/generations"})


async def test_what_fails_in_another_transport_is_ambiguous_since_nobody_knows_what_it_sent() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("late", request=request)

    async with open_outbound(api=httpx.MockTransport(fail)) as outbound:
        with pytest.raises(Ambiguous, match="broke the connection off"):
            await post(outbound, "https://api.example.com/v1")
