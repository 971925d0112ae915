"""OpenRouter's adapter: what is special about it. Its recorded answers are played by test_every_adapter.py."""

import json
from decimal import Decimal
from typing import Any

import pytest

from imagegate.domain import Offering, Size
from imagegate.errors import Ambiguous, BilledInvalid, ContentRejected, RefusedUnbilled
from imagegate.generation.sizing import native_for
from imagegate.providers.openrouter import read_answer, write_body
from tests.providers.wire_cases import answer_of, call_from, told
from tests.providers.wire_offerings import SIZES, offerings
from tests.providers.wire_specs import Validator, spec_of

SCHEMA = spec_of("openrouter")["requests"][0]["schema"]
IMAGE = {"b64_json": "iVBORw0KGgo=", "media_type": "image/png"}


@pytest.mark.parametrize("offering", offerings("openrouter"), ids=lambda offering: offering.upstream_model)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_at_every_offering_is_said_in_words_openrouter_knows(
    offering: Offering, size: Size
) -> None:
    native = native_for(offering.sizes, size)
    call = call_from(
        {}, upstream_model=offering.upstream_model, aspect=native.aspect, tier=native.tier, n=offering.max_n
    )

    body = write_body(call)

    Validator(SCHEMA).validate(body)
    assert (body.get("aspect_ratio"), body.get("resolution")) == (native.aspect, native.tier)


def test_a_tall_telephone_gets_the_ratio_of_its_own() -> None:
    seedream = next(o for o in offerings("openrouter") if o.upstream_model.endswith("seedream-4.5"))

    assert native_for(seedream.sizes, Size(640, 1388)).aspect == "9:19.5"


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


@pytest.mark.parametrize("provider", ["openai", None, 7, ["openai"]])
def test_a_provider_that_is_no_object_is_left_out(provider: Any) -> None:
    assert "provider" not in write_body(call_from({}, fields={"provider": provider}))


def test_an_image_so_long_that_it_is_not_copied_is_read() -> None:
    long = "QUJD" * 30_000

    result = read_answer(answer_of({"created": 1, "data": [{"b64_json": long}]}), call_from({}))

    assert isinstance(result.images[0].b64, memoryview)
    assert bytes(result.images[0].b64) == long.encode()


def test_an_error_beside_images_is_an_error() -> None:
    body = {"error": {"code": 502, "message": "boom"}, "data": [IMAGE]}

    with pytest.raises(RefusedUnbilled) as failed:
        read_answer(answer_of(body), call_from({}))

    assert failed.value.at_risk


@pytest.mark.parametrize("error", [None, {}, "boom", 3])
def test_an_error_that_says_nothing_does_not_hide_the_image(error: Any) -> None:
    assert read_answer(answer_of({"error": error, "data": [IMAGE]}), call_from({})).images


@pytest.mark.parametrize("status", [500, 502])
@pytest.mark.parametrize("body", [{}, {"error": "boom"}, {"error": {}}, {"detail": "boom"}, [], "x"])
def test_a_failure_in_another_shape_is_ambiguous(status: int, body: Any) -> None:
    with pytest.raises(Ambiguous):
        read_answer(answer_of(body, status), call_from({}))


@pytest.mark.parametrize(
    ("raw", "stage"),
    [
        ('{"error":{"code":"content_policy_violation"}}', "input"),
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "input"),
        ('{\\"moderation_details\\": {\\"moderation_stage\\": \\"output\\"}}', "output"),
        ({"finishReason": "IMAGE_PROHIBITED_CONTENT"}, "output"),
        ({"status": "Request Moderated"}, "input"),
    ],
)
def test_a_sellers_refusal_is_found_in_its_own_words(raw: Any, stage: str) -> None:
    error = {"code": 502, "message": "Provider returned error", "metadata": {"raw": raw}}

    with pytest.raises(ContentRejected) as refused:
        read_answer(answer_of({"error": error}, 502), call_from({}))

    assert refused.value.stage == stage


@pytest.mark.parametrize("metadata", [None, {}, [], "x", {"raw": None}, {"raw": 3}, {"reasons": []}])
def test_a_403_without_reasons_is_about_our_key(metadata: Any) -> None:
    error = {"code": 403, "message": "Forbidden", "metadata": metadata}

    with pytest.raises(RefusedUnbilled, match=r"refused our call \(403\)"):
        read_answer(answer_of({"error": error}, 403), call_from({}))


@pytest.mark.parametrize(
    "code", [*range(400, 430), 500, 502, 503, 504, 520, 529, 0, 200, "429", "x", True, 1.5]
)
def test_every_code_inside_a_200_has_a_class_and_none_is_a_success(code: Any) -> None:
    with pytest.raises(Exception) as failed:  # noqa: PT011
        read_answer(answer_of({"error": {"code": code, "message": "boom"}}), call_from({}))

    assert told(failed.value, "outcome") in ("REJECTED", "REFUSED_UNBILLED", "AMBIGUOUS", "BILLED_INVALID")
    if isinstance(failed.value, RefusedUnbilled):
        assert failed.value.at_risk


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.1}, Decimal("0.1")),
        ({"cost": 1e-7}, Decimal("1e-7")),
        ({"cost": 2}, Decimal(2)),
        ({"cost": 0}, Decimal(0)),
        ({"cost": -1}, None),
        ({"cost": "0.1"}, None),
        ({"cost": True}, None),
        ({"cost": None}, None),
        ({"is_byok": True, "cost": 0.5, "cost_details": None}, None),
        ({"is_byok": True, "cost": 0.5, "cost_details": {"upstream_inference_cost": 1}}, Decimal("1.5")),
        ([], None),
    ],
)
def test_the_charge_is_exact_or_not_told(usage: Any, cost: Decimal | None) -> None:
    result = read_answer(answer_of({"data": [IMAGE], "usage": usage}), call_from({}))

    assert result.cost_usd == cost


@pytest.mark.parametrize(
    "body", [[], {}, 1, "x", {"data": None}, {"data": {}}, {"data": [1, None, {"b64_json": 7}]}]
)
def test_a_success_without_an_image_is_billed_and_invalid(body: Any) -> None:
    with pytest.raises(BilledInvalid):
        read_answer(answer_of(body), call_from({}))
