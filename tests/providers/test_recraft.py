"""Recraft's adapter: what is special about it. Its recorded answers are played by test_every_adapter.py."""

from typing import Any

import pytest

from imagegate.errors import AttemptFailed, BilledInvalid, ContentRejected, ProviderRejected, RefusedUnbilled
from imagegate.providers.recraft import read_answer, write_body
from tests.providers.wire_cases import answer_of, call_from
from tests.providers.wire_specs import Validator, spec_of

SCHEMA = spec_of("recraft")["requests"][0]["schema"]


@pytest.mark.parametrize(
    ("seed", "sent"), [(0, 0), (2**32 - 1, 2**32 - 1), (2**32, 0), (2**63 - 1, 2**32 - 1), (-1, 2**32 - 1)]
)
def test_a_seed_is_folded_into_those_that_exist(seed: int, sent: int) -> None:
    body = write_body(call_from({}, upstream_model="recraftv4_1", fields={"seed": seed}))

    assert body["random_seed"] == sent
    assert "seed" not in body
    Validator(SCHEMA).validate(body)


@pytest.mark.parametrize(
    "body", [{"code": 500, "message": "x"}, {"message": "x"}, {"code": "x"}, {"error": "x"}]
)
def test_an_error_in_another_shape_leaves_open_who_failed(body: Any) -> None:
    with pytest.raises(AttemptFailed) as failed:
        read_answer(answer_of(body, 500), call_from({}))

    assert failed.value.outcome == "AMBIGUOUS"


@pytest.mark.parametrize("code", ["not_enough_credits", "insufficient_balance"])
def test_an_empty_account_is_not_the_callers_fault(code: str) -> None:
    with pytest.raises(RefusedUnbilled):
        read_answer(answer_of({"code": code, "message": "top up"}, 400), call_from({}))


@pytest.mark.parametrize("code", ["invalid_request", "no such size: A red fox", "", "<b>"])
def test_a_provider_can_not_put_words_into_our_errors(code: str) -> None:
    body = {"code": code, "message": "wrong: A red fox in snow"}

    with pytest.raises(ProviderRejected) as rejected:
        read_answer(answer_of(body, 400), call_from({}))

    assert "fox" not in str(rejected.value)
    assert "<" not in str(rejected.value)


@pytest.mark.parametrize("data", [None, {}, [], [1], [{}], [{"b64_json": 7}], "x"])
def test_a_charge_without_an_image_is_no_success(data: Any) -> None:
    with pytest.raises(BilledInvalid):
        read_answer(answer_of({"created": 1, "credits": 35, "data": data}), call_from({}))


def test_a_refusal_after_drawing_says_so() -> None:
    body = {"code": "nsfw", "message": "the generated image was hidden"}

    with pytest.raises(ContentRejected) as refused:
        read_answer(answer_of(body, 400), call_from({}))

    assert refused.value.stage == "output"
