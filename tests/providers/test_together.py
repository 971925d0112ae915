"""Together's adapter: what is special about it. Its recorded answers are played by test_every_adapter.py."""

import json
from typing import Any

import pytest

from imagegate.domain import Offering, Size
from imagegate.errors import ContentRejected, RefusedUnbilled
from imagegate.generation.sizing import native_for
from imagegate.outbound import Answer
from imagegate.providers.together import read_answer, write_body
from tests.providers.wire_cases import call_from
from tests.providers.wire_offerings import SIZES, offerings
from tests.providers.wire_specs import Validator, spec_of

SCHEMA = spec_of("together")["requests"][0]["schema"]


def answer_of(body: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps(body).encode())


@pytest.mark.parametrize("offering", offerings("together"), ids=lambda offering: offering.upstream_model)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_at_every_offering_is_said_in_words_that_are_known(offering: Offering, size: Size) -> None:
    native = native_for(offering.sizes, size)
    for quality in (None, *offering.qualities):
        for form in (None, *offering.formats):
            call = call_from(
                {},
                upstream_model=offering.upstream_model,
                size=str(native.size),
                aspect=native.aspect,
                tier=native.tier,
                n=offering.max_n,
                quality=quality,
                format=form,
                fields={"seed": 7} if offering.features.get("seed") else {},
            )

            Validator(SCHEMA).validate(write_body(call))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("black-forest-labs/FLUX.2-dev", "guidance"),
        ("black-forest-labs/FLUX.2-flex", "guidance"),
        ("black-forest-labs/FLUX.2-pro", "guidance_scale"),
        ("black-forest-labs/FLUX.1-dev", "guidance_scale"),
        ("Lykon/DreamShaper", "guidance_scale"),
    ],
)
def test_guidance_has_the_name_that_the_model_knows(model: str, name: str) -> None:
    body = write_body(call_from({}, upstream_model=model, fields={"guidance": 0}))

    assert {key: value for key, value in body.items() if "guidance" in key} == {name: 0}


@pytest.mark.parametrize(
    "sentence", ["NSFW content", "failed a safety check", "moderated", "the content policy"]
)
def test_a_refusal_is_known_by_its_sentence(sentence: str) -> None:
    body = {"error": {"message": f"{sentence}: A red fox in snow", "type": "invalid_request_error"}}

    with pytest.raises(ContentRejected) as refused:
        read_answer(answer_of(body, 400), call_from({}))

    assert "fox" not in str(refused.value)


def test_a_model_that_needs_a_server_of_its_own_lets_the_next_provider_try() -> None:
    body = {"error": {"message": "Unable to access model x", "type": "invalid_request_error"}}

    with pytest.raises(RefusedUnbilled) as refused:
        read_answer(answer_of(body, 400), call_from({}))

    assert not refused.value.busy


@pytest.mark.parametrize("id_", [None, 7, "a b", "<b>", "x" * 99])
def test_an_id_that_is_none_gives_way_to_the_header(id_: Any) -> None:
    body = {"id": id_, "data": [{"b64_json": "iVBORw0KGgo="}]}

    result = read_answer(answer_of(body, **{"x-request-id": "req-7"}), call_from({}))

    assert result.upstream_id == "req-7"
