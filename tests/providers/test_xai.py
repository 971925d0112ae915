"""xAI's adapter: what is special about it. Its recorded answers are played by test_every_adapter.py."""

import json
from typing import Any

import pytest

from imagegate.errors import AttemptFailed, BilledInvalid, ContentRejected, ProviderRejected, RefusedUnbilled
from imagegate.providers.xai import read_answer, write_body
from tests.providers.wire_cases import answer_of, call_from
from tests.providers.wire_specs import spec_of

SCHEMA = spec_of("xai")["requests"][0]["schema"]


@pytest.mark.parametrize(
    ("size", "ratio", "tier"),
    [
        ("1024x1024", "1:1", "1k"),
        ("1536x1024", "3:2", "1k"),
        ("1537x1024", "3:2", "2k"),
        ("1920x1080", "16:9", "2k"),
        ("640x1388", "9:19.5", "1k"),
        ("640x96", "20:9", "1k"),
        ("96x640", "9:20", "1k"),
    ],
)
def test_pixels_become_the_nearest_ratio_and_a_tier(size: str, ratio: str, tier: str) -> None:
    body = write_body(call_from({}, size=size))

    assert (body["aspect_ratio"], body["resolution"]) == (ratio, tier)


@pytest.mark.parametrize(
    ("aspect", "ratio"), [("19.5:9", "2:1"), ("9:20", "1:2"), ("3:2", "3:2"), ("20:9", "2:1"), (None, "3:2")]
)
def test_an_edit_knows_fewer_ratios(aspect: str | None, ratio: str) -> None:
    call = call_from({}, aspect=aspect, size="1536x1024", images=["png 8x8"])

    assert write_body(call)["aspect_ratio"] == ratio


def test_an_edit_is_never_asked_how_many() -> None:
    assert "n" not in write_body(call_from({}, n=1, images=["png 8x8"]))


@pytest.mark.parametrize(
    ("quality", "said"),
    [(None, None), ("low", "low"), ("medium", "medium"), ("high", "medium"), ("max", "medium")],
)
def test_two_qualities_are_known(quality: str | None, said: str | None) -> None:
    assert write_body(call_from({}, quality=quality)).get("quality") == said


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"user": "alice", "safety_identifier": "s-1"}, "s-1"),
        ({"safety_identifier": "s-1"}, "s-1"),
        ({"user": None}, None),
        ({}, None),
    ],
)
def test_a_safety_identifier_is_its_user(fields: dict[str, Any], user: str | None) -> None:
    assert write_body(call_from({}, fields=fields)).get("user") == user


def test_a_user_is_told_by_hash_only() -> None:
    assert "alice" not in json.dumps(write_body(call_from({}, fields={"user": "alice@example.com"})))


@pytest.mark.parametrize(
    ("status", "sentence", "error"),
    [
        (400, "Incorrect API key provided: ab***yz", RefusedUnbilled),
        (429, "reached its monthly spending limit", RefusedUnbilled),
        (403, "this team does not have any credits", RefusedUnbilled),
        (400, "the model grok-x does not exist", RefusedUnbilled),
        (400, "blocked by content moderation", ContentRejected),
        (403, "violates the usage guidelines", ContentRejected),
        (400, "wrong: A red fox in snow", ProviderRejected),
    ],
)
@pytest.mark.parametrize("shape", ["sentences", "openai"])
def test_a_sentence_decides_where_the_status_does_not(
    status: int, sentence: str, error: type[Exception], shape: str
) -> None:
    body: Any = {"code": "Client specified something", "error": sentence}
    if shape == "openai":
        body = {"error": {"message": sentence, "type": "x", "code": None}}

    with pytest.raises(error) as failed:
        read_answer(answer_of(body, status), call_from({}))

    assert not getattr(failed.value, "busy", False)
    assert "fox" not in str(failed.value)


@pytest.mark.parametrize("body", [{"error": "down"}, {"error": 7, "code": "x"}, {"code": "x"}])
def test_an_error_in_another_shape_leaves_open_who_failed(body: Any) -> None:
    with pytest.raises(AttemptFailed) as failed:
        read_answer(answer_of(body, 500), call_from({}))

    assert failed.value.outcome == "AMBIGUOUS"


@pytest.mark.parametrize("data", [[], [{"respect_moderation": False}], [{"url": ""}], [{"b64_json": None}]])
def test_a_success_without_an_image_is_a_refusal_of_what_was_drawn(data: Any) -> None:
    with pytest.raises(ContentRejected) as refused:
        read_answer(answer_of({"data": data}), call_from({}))

    assert refused.value.stage == "output"


@pytest.mark.parametrize("data", [None, {}, "x", [{"respect_moderation": True, "url": None}]])
def test_a_success_without_an_image_or_a_sign_of_moderation_is_billed_and_invalid(data: Any) -> None:
    with pytest.raises(BilledInvalid):
        read_answer(answer_of({"data": data}), call_from({}))


def test_an_image_that_was_moderated_is_never_given() -> None:
    entry = {"b64_json": "iVBORw0KGgo=", "respect_moderation": False}

    with pytest.raises(ContentRejected):
        read_answer(answer_of({"data": [entry]}), call_from({}))


def test_a_failure_that_speaks_of_a_key_is_a_failure() -> None:
    body = {"code": "The service failed", "error": "could not tell an incorrect api key from a correct one"}

    with pytest.raises(RefusedUnbilled) as failed:
        read_answer(answer_of(body, 500), call_from({}))

    assert failed.value.at_risk
