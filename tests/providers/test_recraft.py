"""Recraft's adapter: what is special about it. Its recorded answers are played by test_every_adapter.py."""

from typing import Any

import pytest

from imagegate.errors import AttemptFailed, BilledInvalid, ContentRejected, ProviderRejected, RefusedUnbilled
from imagegate.providers.recraft import read_answer, route_of, write_body
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
    ("model", "mask", "fields", "route"),
    [
        ("recraftv3", None, {}, "imageToImage"),
        ("recraftv3", None, {"strength": 0.1}, "imageToImage"),
        ("recraftv3", None, {"expand_left": 64}, "outpaint"),
        ("recraftv3", None, {"zoom_out_percentage": 0}, "outpaint"),
        ("recraftv3", "png 8x8 grey", {"expand_left": 64}, "inpaint"),
        ("recraftv3/replaceBackground", None, {"expand_left": 64}, "replaceBackground"),
        ("recraftv3/generateBackground", "png 8x8 grey", {}, "generateBackground"),
    ],
)
def test_an_edit_goes_to_the_route_for_its_kind_of_work(
    model: str, mask: str | None, fields: dict[str, Any], route: str
) -> None:
    call = call_from({}, upstream_model=model, images=["png 8x8"], mask=mask, fields=fields)
    body = write_body(call)

    assert route_of(call) == route
    assert body["model"] == "recraftv3"
    assert ("strength" in body) == (route == "imageToImage")
    assert any(name in body for name in ("expand_left", "zoom_out_percentage")) == (route == "outpaint")
    assert "size" not in body


def test_expansion_and_strength_are_no_words_of_a_generation() -> None:
    fields = {"strength": 0.3, "expand_left": 64, "upscale": "upscale4mp"}

    body = write_body(call_from({}, upstream_model="recraftv3", fields=fields))

    assert not {"strength", "expand_left"} & set(body)
    assert body["upscale"] == "upscale4mp"


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
