"""OpenAI's adapter: every recorded answer by respx, and the real wire against the fake provider."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from imagegate.domain import ProviderCall, ProviderResult
from imagegate.errors import Ambiguous, BilledInvalid, ContentRejected, ProviderRejected, RefusedUnbilled
from imagegate.outbound import Answer, Outbound, open_outbound
from imagegate.pool import WorkPool
from imagegate.providers.openai import OpenAIAdapter, read_answer
from imagegate.providers.openai_forms import texts, write_form
from imagegate.providers.openai_wire import retry_after_s, write_body
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import Images, Refuse, Truncated, empty, garbage, wrong_type
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


def call_to(fake: FakeProvider, **more: Any) -> ProviderCall:
    return call_from({}, base_url=fake.base_url, api_key=SecretStr(KEY), **more)


@pytest.mark.parametrize("path", cases("openai"), ids=lambda path: path.stem)
async def test_a_recorded_answer_is_read_as_recorded(path: Path, pool: WorkPool) -> None:
    case = load(path)
    transport, route = answering(case)

    async with open_outbound(api=transport) as outbound:
        adapter = OpenAIAdapter(outbound, pool)
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


async def test_the_key_is_a_bearer_token_and_the_images_are_what_was_asked_for(
    outbound: Outbound, pool: WorkPool
) -> None:
    async with FakeProvider() as fake:
        call = call_to(fake, n=3, size="1536x864", quality="high", format="webp")

        result = await OpenAIAdapter(outbound, pool).generate(call)

        assert fake.violations == []
    assert len(result.images) == 3
    assert base64.b64decode(result.images[0].b64 or "")[8:12] == b"WEBP"
    assert result.usage is not None
    assert result.usage["output_tokens"] == 3 * 1756
    assert result.upstream_id == "req_fake"


@pytest.mark.parametrize(
    ("fields", "format"),
    [
        ({"background": "transparent"}, None),
        ({"background": "opaque", "output_compression": 80}, "jpeg"),
        ({"output_compression": 80}, "png"),
        ({"output_compression": 80}, None),
        ({"moderation": "low", "user": "u-17"}, "webp"),
        ({"user": "u" * 500, "complexity": "low"}, None),
        ({"seed": 3, "style": "vivid", "response_format": "url", "stream": True, "partial_images": 2}, None),
        ({"model": "another", "n": 99, "prompt": "other", "size": "1x1"}, None),
    ],
)
async def test_no_field_reaches_openai_that_it_would_refuse(
    outbound: Outbound, pool: WorkPool, fields: dict[str, Any], format: str | None
) -> None:
    async with FakeProvider() as fake:
        await OpenAIAdapter(outbound, pool).generate(call_to(fake, fields=fields, format=format))

        assert fake.violations == []
        assert fake.requests[0].body["prompt"] == "A red fox in snow"


def test_a_user_is_told_by_hash_only() -> None:
    body = write_body(call_from({}, fields={"user": "alice@example.com"}))

    assert body["safety_identifier"] == hashlib.sha256(b"alice@example.com").hexdigest()
    assert "alice" not in json.dumps(body)


def test_a_safety_identifier_of_the_callers_own_wins_over_the_user() -> None:
    body = write_body(call_from({}, fields={"user": "alice", "safety_identifier": "s-1"}))

    assert body["safety_identifier"] == "s-1"
    assert "user" not in body


MARKED = {"images": ["png 8x8"], "fields": {"markup": "iVBORw0KGgo="}}


@pytest.mark.parametrize(
    "markup", ["https://stranger.test/a.png", "data:image/png;base64,", "", "?", 7, None, {}]
)
async def test_a_markup_that_is_no_picture_is_not_sent(
    outbound: Outbound, pool: WorkPool, markup: object
) -> None:
    async with FakeProvider() as fake:
        call = replace(call_from({"call": MARKED}, base_url=fake.base_url), fields={"markup": markup})
        if markup is None:
            assert "markup" not in write_form(call, write_body(call), provider="openai").fields
            return

        with pytest.raises(ProviderRejected, match="takes a markup that is a PNG") as refused:
            await OpenAIAdapter(outbound, pool).generate(call)

        assert refused.value.param == "markup"
        assert fake.requests == []


def test_a_markup_and_a_mask_are_not_sent_together() -> None:
    call = call_from({"call": {**MARKED, "mask": "png 8x8"}})

    with pytest.raises(ProviderRejected, match="no markup beside a mask"):
        write_form(call, write_body(call), provider="openai")


@pytest.mark.parametrize("images", [1, 2, 16])
def test_a_lone_picture_has_the_plain_name_and_several_share_one(images: int) -> None:
    form = write_form(call_from({"call": {"images": ["png 8x8"] * images}}), {"n": 2}, provider="openai")

    assert {file.field for file in form.files} == {"image" if images == 1 else "image[]"}
    assert len({file.name for file in form.files}) == images
    assert form.fields == {"n": "2"}


def test_a_group_of_fields_is_sent_member_by_member() -> None:
    body = {"svg": {"model": "s-1", "reasoning": {"effort": "low"}}, "stream": False, "user": None}

    assert texts(body) == {"svg[model]": "s-1", "svg[reasoning][effort]": "low", "stream": "false"}


@pytest.mark.parametrize("stage", ["input", "output"])
async def test_a_refusal_says_what_was_refused(outbound: Outbound, pool: WorkPool, stage: str) -> None:
    async with FakeProvider() as fake:
        fake.then(Refuse(stage))

        with pytest.raises(ContentRejected) as refused:
            await OpenAIAdapter(outbound, pool).generate(call_to(fake))

    assert refused.value.stage == stage


@pytest.mark.parametrize(
    ("verb", "error"),
    [(empty(), BilledInvalid), (garbage(), Ambiguous), (wrong_type(), Ambiguous), (Truncated(), Ambiguous)],
    ids=["empty", "garbage", "web page", "truncated"],
)
async def test_a_success_that_is_none_is_classified(
    outbound: Outbound, pool: WorkPool, verb: Any, error: type[Exception]
) -> None:
    async with FakeProvider() as fake:
        fake.then(verb)

        with pytest.raises(error):
            await OpenAIAdapter(outbound, pool).generate(call_to(fake))


@pytest.mark.parametrize("count", [1, 5])
async def test_images_are_given_as_many_as_came(outbound: Outbound, pool: WorkPool, count: int) -> None:
    async with FakeProvider() as fake:
        fake.then(Images(count=count))

        result = await OpenAIAdapter(outbound, pool).generate(call_to(fake, n=3))

    assert len(result.images) == count


async def test_a_key_that_is_refused_is_no_ones_bill(outbound: Outbound, pool: WorkPool) -> None:
    async with FakeProvider(key="another") as fake:
        with pytest.raises(RefusedUnbilled, match="refused our call") as refused:
            await OpenAIAdapter(outbound, pool).generate(call_to(fake))

    assert not refused.value.busy
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("status", [*range(400, 452), 500, 501, 502, 503, 504, 520, 524, 529])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":{}}', b'{"error":null}', b"null", b"1"])
def test_every_status_with_any_body_has_one_class(status: int, body: bytes) -> None:
    answer = Answer(status, {}, body)

    with pytest.raises(Exception) as failed:  # noqa: PT011
        read_answer(answer, call_from({}))

    assert told(failed.value, "outcome") in ("REJECTED", "REFUSED_UNBILLED", "AMBIGUOUS")


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        "1",
        "null",
        '"x"',
        '{"data":null}',
        '{"data":{}}',
        '{"data":[1,null,{}]}',
        '{"data":[{"b64_json":7}]}',
    ],
)
def test_a_success_in_a_strange_shape_is_billed_and_invalid_or_ambiguous(body: str) -> None:
    with pytest.raises((BilledInvalid, Ambiguous)):
        read_answer(Answer(200, {}, body.encode()), call_from({}))


def test_a_provider_can_not_put_words_into_our_errors() -> None:
    error = {"message": "prompt: A red fox", "code": "<b>A red fox</b>", "param": "x" * 500, "type": 7}
    answer = Answer(400, {"x-request-id": "a\nb"}, json.dumps({"error": error}).encode())

    with pytest.raises(Exception, match=r"^openai found the request invalid \(400\)$") as failed:
        read_answer(answer, call_from({}))

    assert told(failed.value, "param") is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Fri, 01 Jan 1999 00:00:00 GMT"}, 0.0),
        ({}, None),
    ],
)
def test_the_wait_is_read_from_either_header(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_the_wait_may_be_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=60)

    assert 50 < (retry_after_s({"retry-after": format_datetime(moment, usegmt=True)}) or 0) <= 60
