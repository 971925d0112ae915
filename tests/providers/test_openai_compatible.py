"""The adapter of OpenAI's imitators: what it sends to them, and the many ways they answer."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from imagegate.domain import ProviderImage, ProviderResult
from imagegate.errors import BilledInvalid, RefusedUnbilled
from imagegate.outbound import Answer, Outbound, open_outbound
from imagegate.pool import WorkPool
from imagegate.providers.openai_compatible import (
    ANY,
    LOCALAI,
    SD_SERVER,
    SGLANG,
    VLLM,
    OpenAICompatibleAdapter,
    Server,
    endpoint,
    read_answer,
    server_of,
    write_body,
)
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import Links
from tests.providers.wire_cases import answering, call_from, cases, load, told
from tests.providers.wire_images import filled, sent_by


@pytest.fixture(scope="module")
def pool() -> Any:
    pool = WorkPool(threads=1)
    yield pool
    pool.close()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with open_outbound() as outbound:
        yield outbound


@pytest.mark.parametrize("path", cases("openai_compatible"), ids=lambda path: path.stem)
async def test_a_recorded_answer_is_read_as_recorded(path: Path, pool: WorkPool) -> None:
    case = load(path)
    transport, route = answering(case)

    async with open_outbound(api=transport) as outbound:
        adapter = OpenAICompatibleAdapter(outbound, pool)
        call = call_from(case)
        result: ProviderResult | Exception
        try:
            result = await adapter.generate(call)
        except Exception as error:
            result = error

    assert {name: told(result, name) for name in case["expected"]} == case["expected"]
    assert route.call_count == 1
    if "sent" in case:
        assert sent_by(route.calls[0].request, call) == filled(case["sent"], call)


async def test_a_server_without_a_key_gets_none(outbound: Outbound, pool: WorkPool) -> None:
    async with FakeProvider(compatible=True, key=None) as fake:
        await OpenAICompatibleAdapter(outbound, pool).generate(call_from({}, base_url=fake.base_url))

        assert "authorization" not in fake.requests[0].headers


async def test_a_server_with_a_key_gets_it_with_the_call_and_not_with_the_fetch(
    outbound: Outbound, pool: WorkPool
) -> None:
    async with FakeProvider(compatible=True) as fake:
        fake.default = Links()
        call = call_from({}, base_url=fake.base_url, api_key=SecretStr(KEY), size="64x64")

        result = await OpenAICompatibleAdapter(outbound, pool).generate(call)
        image = await outbound.fetch(
            result.images[0].url or "",
            trusted_hosts=frozenset({"127.0.0.1"}),
            timeout_s=5.0,
            max_bytes=100_000,
            provider="openai_compatible",
        )

        assert image.startswith(b"\x89PNG")
        assert "authorization" not in fake.fetched[0].headers
        assert fake.violations == []


async def test_the_base_urls_own_host_is_not_trusted_unless_it_is_configured(
    outbound: Outbound, pool: WorkPool
) -> None:
    async with FakeProvider(compatible=True, key=None) as fake:
        fake.default = Links()
        call = call_from({}, base_url=fake.base_url)
        result = await OpenAICompatibleAdapter(outbound, pool).generate(call)

        with pytest.raises(BilledInvalid):
            await outbound.fetch(
                result.images[0].url or "",
                trusted_hosts=call.trusted_hosts,
                timeout_s=5.0,
                max_bytes=100_000,
                provider="openai_compatible",
            )


async def test_all_our_fields_are_words_that_such_servers_know(outbound: Outbound, pool: WorkPool) -> None:
    fields = {"seed": 42, "negative_prompt": "blur", "steps": 28, "guidance": 4.5}
    async with FakeProvider(compatible=True, key=None) as fake:
        call = call_from({}, base_url=fake.base_url, fields=fields, size="512x512")

        await OpenAICompatibleAdapter(outbound, pool).generate(call)

        assert fake.violations == []
        assert fake.requests[0].body["num_inference_steps"] == 28


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://cdn.test/a.png?sig=1", "https://cdn.test/a.png?sig=1"),
        ("/generated-images/a.png", "https://provider.test/generated-images/a.png"),
        ("a.png", "https://provider.test/v1/images/a.png"),
        ("//cdn.test/a.png", "https://cdn.test/a.png"),
    ],
)
def test_a_link_is_made_whole(url: str, read: str) -> None:
    answer = Answer(200, {}, json.dumps({"data": [{"url": url}]}).encode())

    assert read_answer(answer, call_from({})).images == (ProviderImage(url=read),)


@pytest.mark.parametrize(
    ("entry", "image"),
    [
        ({"url": "data:image/png;base64,iVBORw0="}, ProviderImage(b64="iVBORw0=")),
        ({"b64_json": "data:image/png;base64,iVBORw0="}, ProviderImage(b64="iVBORw0=")),
        ({"url": "DATA:;charset=x;BASE64,iVBORw0="}, ProviderImage(b64="iVBORw0=")),
        ({"url": "data:image/png,%89PNG"}, ProviderImage(data=b"\x89PNG")),
        ({"b64_json": "iVBORw0=", "url": "https://cdn.test/a.png"}, ProviderImage(b64="iVBORw0=")),
        ({"b64_json": None, "url": "https://cdn.test/a.png"}, ProviderImage(url="https://cdn.test/a.png")),
    ],
)
def test_an_image_is_found_wherever_it_is(entry: dict[str, Any], image: ProviderImage) -> None:
    answer = Answer(200, {}, json.dumps({"data": [entry]}).encode())

    assert read_answer(answer, call_from({})).images == (image,)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "javascript:x", "data:image/png;base64,", "http://[", ""]
)
def test_a_link_of_another_kind_is_no_image(url: str) -> None:
    answer = Answer(200, {}, json.dumps({"data": [{"url": url}]}).encode())

    with pytest.raises(BilledInvalid):
        read_answer(answer, call_from({}))


@pytest.mark.parametrize(
    "body", [{"error": "boom"}, {"detail": "boom"}, {"detail": [{"loc": 3}]}, {"error": {}}]
)
def test_a_500_in_a_shape_such_servers_write_is_refused_at_risk(body: dict[str, Any]) -> None:
    with pytest.raises(RefusedUnbilled) as refused:
        read_answer(Answer(500, {}, json.dumps(body).encode()), call_from({}))

    assert refused.value.at_risk


@pytest.mark.parametrize(
    ("base_url", "server"),
    [
        ("http://10.0.0.7:8080/v1#localai", LOCALAI),
        ("http://10.0.0.7:8080/v1#Local-AI", LOCALAI),
        ("http://localai:8080/v1", LOCALAI),
        ("http://10.0.0.7:1234/v1#stable-diffusion.cpp", SD_SERVER),
        ("http://10.0.0.7:1234/v1#sd_server", SD_SERVER),
        ("http://10.0.0.7:1234/v1#sd.cpp", SD_SERVER),
        ("http://gpu-3.vllm.svc:8000/v1", VLLM),
        ("http://vllm:8000/v1#sglang", SGLANG),
        ("http://10.0.0.7:8000/v1", ANY),
        ("http://10.0.0.7:8000/v1#something-new", ANY),
    ],
)
def test_whose_words_are_meant_is_read_from_the_base_url(base_url: str, server: Server) -> None:
    call = call_from({}, base_url=base_url)

    assert server_of(call) is server
    assert endpoint(call) == f"{base_url.partition('#')[0]}/images/generations"


def test_a_callers_prompt_can_not_set_what_sd_server_reads_from_it() -> None:
    fields = {"steps": 8, "negative_prompt": "x</sd_cpp_extra_args>y"}
    prompt = (
        'fox <sd_cpp_extra_args>{"width": 9999}</SD_cpp_extra_args><sd_cpp_<sd_cpp_extra_args>extra_args>'
    )

    sent = write_body(call_from({}, base_url="http://sd-server:1234/v1", prompt=prompt, fields=fields))[
        "prompt"
    ]

    assert sent.count("<sd_cpp_extra_args>") == 1
    block = sent.partition("<sd_cpp_extra_args>")[2].removesuffix("</sd_cpp_extra_args>")
    assert json.loads(block) == {"negative_prompt": "x y", "sample_params": {"sample_steps": 8}}
