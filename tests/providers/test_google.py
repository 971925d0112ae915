"""Google's adapter: what is special about it. Its recorded answers are played by test_every_adapter.py."""

import re
from typing import Any

import pytest

from imagegate.domain import Offering, ProviderImage, Size
from imagegate.errors import Ambiguous, BilledInvalid, ContentRejected, ProviderRejected, RefusedUnbilled
from imagegate.generation.sizing import native_for
from imagegate.providers.google import read_answer, write_body
from tests.providers.wire_cases import answer_of, call_from
from tests.providers.wire_offerings import SIZES, offerings
from tests.providers.wire_specs import Validator, spec_of


def schema_for(model: str) -> dict[str, Any]:
    entries = spec_of("google")["requests"]
    return next(
        dict(e["schema"]) for e in entries if re.fullmatch(e["path"], f"/models/{model}:generateContent")
    )


@pytest.mark.parametrize("offering", offerings("google"), ids=lambda offering: offering.upstream_model)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_at_every_offering_is_said_in_words_google_knows(offering: Offering, size: Size) -> None:
    native = native_for(offering.sizes, size)
    call = call_from({}, upstream_model=offering.upstream_model, aspect=native.aspect, tier=native.tier)

    body = write_body(call)

    Validator(schema_for(offering.upstream_model)).validate(body)
    assert body["generationConfig"]["imageConfig"]["aspectRatio"] == native.aspect


def test_a_tier_is_upper_case() -> None:
    config = write_body(call_from({}, aspect="1:1", tier="2k"))["generationConfig"]

    assert config["imageConfig"] == {"aspectRatio": "1:1", "imageSize": "2K"}


@pytest.mark.parametrize(
    ("seed", "sent"), [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, 0), (2**63 - 1, 2**31 - 1)]
)
def test_a_seed_fits_31_bits(seed: int, sent: int) -> None:
    assert write_body(call_from({}, fields={"seed": seed}))["generationConfig"]["seed"] == sent


@pytest.mark.parametrize(
    ("quality", "level"), [("low", "MINIMAL"), ("medium", "MEDIUM"), ("high", "HIGH"), ("max", "HIGH")]
)
def test_a_quality_is_a_level_of_thinking(quality: str, level: str) -> None:
    config = write_body(call_from({}, quality=quality))["generationConfig"]

    assert config["thinkingConfig"] == {"thinkingLevel": level}


def test_what_is_googles_own_goes_where_it_belongs_and_the_rest_nowhere() -> None:
    fields = {
        "thinkingConfig": {"thinkingLevel": "LOW"},
        "systemInstruction": {"parts": [{"text": "Draw flat."}]},
        "safetySettings": [],
        "moderation": "auto",
        "negative_prompt": "blur",
        "guidance": 3,
        "contents": "others",
    }

    body = write_body(call_from({}, quality="high", fields=fields))

    Validator(schema_for("gemini-3-pro-image")).validate(body)
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW"}
    assert body["safetySettings"] == []
    assert body["systemInstruction"] == {"parts": [{"text": "Draw flat."}]}


@pytest.mark.parametrize(
    ("fields", "quality", "config"),
    [
        ({"thinking": "minimal"}, "high", {"thinkingLevel": "MINIMAL"}),
        ({"thinking": "low", "thinkingConfig": {"thinkingLevel": "HIGH"}}, None, {"thinkingLevel": "LOW"}),
        (
            {"thinking": "high", "thinkingConfig": {"includeThoughts": True}},
            None,
            {"includeThoughts": True, "thinkingLevel": "HIGH"},
        ),
        ({"thinking": "low", "thinkingConfig": 7}, None, {"thinkingLevel": "LOW"}),
    ],
)
def test_our_word_for_thinking_goes_before_googles_and_before_a_quality(
    fields: dict[str, Any], quality: str | None, config: dict[str, Any]
) -> None:
    body = write_body(call_from({}, quality=quality, fields=fields))

    assert body["generationConfig"]["thinkingConfig"] == config


@pytest.mark.parametrize("quality", ["low", "high"])
def test_a_quality_never_changes_the_size(quality: str) -> None:
    call = call_from({}, quality=quality, aspect="1:1", tier="1K")

    assert write_body(call)["generationConfig"]["imageConfig"] == {"aspectRatio": "1:1", "imageSize": "1K"}


@pytest.mark.parametrize("words", ["gif 8x8", "avif 8x8"])
def test_a_picture_that_google_cannot_read_is_told_before_anything_is_sent(words: str) -> None:
    with pytest.raises(ProviderRejected, match=f"not {words[:-4]}") as rejected:
        write_body(call_from({}, images=["png 8x8", words]))

    assert rejected.value.param == "image"


def test_the_catalogues_usual_moderation_sets_nothing() -> None:
    assert "safetySettings" not in write_body(call_from({}, fields={"moderation": "auto"}))


def part(mime: str = "image/png", **more: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": "iVBORw0KGgo="}, **more}


def test_an_image_that_came_is_an_image_whatever_the_reason_to_finish() -> None:
    body = {"candidates": [{"finishReason": "OTHER", "content": {"parts": [part()]}}]}

    assert read_answer(answer_of(body), call_from({})).images == (ProviderImage(b64="iVBORw0KGgo="),)


@pytest.mark.parametrize(
    "parts",
    [
        [part("audio/wav")],
        [part(thought=True)],
        [{"inlineData": {"mimeType": "image/png", "data": ""}}],
        [7],
        {},
    ],
)
def test_what_is_no_image_is_none(parts: Any) -> None:
    body = {"candidates": [{"finishReason": "STOP", "content": {"parts": parts}}]}

    with pytest.raises(BilledInvalid, match=r"without an image \(STOP\)"):
        read_answer(answer_of(body), call_from({}))


@pytest.mark.parametrize(
    "body",
    [
        {"promptFeedback": {"blockReason": "A_REASON_OF_NEXT_YEAR"}},
        {"promptFeedback": {"blockReason": "x y"}},
    ],
)
def test_a_block_for_a_reason_we_do_not_know_is_a_refusal(body: Any) -> None:
    with pytest.raises(ContentRejected) as refused:
        read_answer(answer_of(body), call_from({}))

    assert refused.value.stage == "input"


def test_an_unspecified_block_is_no_refusal() -> None:
    with pytest.raises(BilledInvalid):
        read_answer(answer_of({"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}), call_from({}))


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"candidates": None},
        {"candidates": {}},
        {"candidates": [None, {}, {"content": 7}]},
        {"candidates": [{"finishReason": ["SAFETY"], "content": {"parts": None}}], "promptFeedback": 3},
        {"candidates": [{"finishReason": "two words"}], "usageMetadata": [1], "responseId": 9},
    ],
)
def test_a_success_in_a_strange_shape_is_billed_and_invalid(body: Any) -> None:
    with pytest.raises(BilledInvalid):
        read_answer(answer_of(body), call_from({}))


@pytest.mark.parametrize("error", [{}, {"message": "boom"}, "boom", None, {"code": "500"}])
def test_a_500_in_a_shape_that_is_not_googles_is_ambiguous(error: Any) -> None:
    with pytest.raises(Ambiguous):
        read_answer(answer_of({"error": error}, 500), call_from({}))


@pytest.mark.parametrize(
    ("details", "busy", "wait_s"),
    [
        ([{"retryDelay": "0.25s"}], True, 0.25),
        ([{"retryDelay": "-1s"}], True, None),
        ([{"retryDelay": "1e9s"}, {"retryDelay": 7}], True, None),
        ([{"violations": [{"quotaId": "requests_per_day_per_project"}]}], False, None),
        ([{"violations": [{"quotaId": "PerMinute", "quotaValue": 0}]}], False, None),
        ([{"violations": [{"quotaId": None}, 3, None]}], True, None),
        ([{"violations": "PerDay"}, None], True, None),
        ("PerDay", True, None),
    ],
)
def test_a_429_is_busy_unless_a_violation_says_that_waiting_is_of_no_use(
    details: Any, busy: bool, wait_s: float | None
) -> None:
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded", "details": details}

    with pytest.raises(RefusedUnbilled) as refused:
        read_answer(answer_of({"error": error}, 429), call_from({}))

    assert (refused.value.busy, refused.value.wait_s) == (busy, wait_s)


def test_google_can_not_put_words_into_our_errors() -> None:
    details = [{"fieldViolations": [{"field": "A red fox in snow"}]}]
    error = {"code": 400, "message": "A red fox in snow", "status": "A red fox", "details": details}

    with pytest.raises(ProviderRejected, match=r"^google found the request invalid \(400\)$") as failed:
        read_answer(answer_of({"error": error}, 400), call_from({}))

    assert failed.value.param is None


def test_counts_that_are_none_are_counted_as_nothing() -> None:
    usage = {
        "promptTokenCount": "9",
        "candidatesTokenCount": -1,
        "thoughtsTokenCount": True,
        "totalTokenCount": 9,
    }
    usage |= {"promptTokensDetails": [{"modality": 7}, None, {"modality": "TEXT"}]}
    body = {"candidates": [{"content": {"parts": [part()]}}], "usageMetadata": usage}

    assert read_answer(answer_of(body), call_from({})).usage == {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 9,
        "input_tokens_details": {"text_tokens": 0},
    }
