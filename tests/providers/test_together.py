"""Together's adapter: what is special about it. Its recorded answers are played by test_every_adapter.py."""

from typing import Any

import pytest

from imagegate.errors import ContentRejected, RefusedUnbilled
from imagegate.providers.together import read_answer, write_body
from tests.providers.wire_cases import answer_of, call_from
from tests.providers.wire_specs import spec_of

SCHEMA = spec_of("together")["requests"][0]["schema"]


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


def test_our_words_go_before_its_own() -> None:
    fields = {"guidance": 3, "guidance_scale": 9, "prompt_enhancement": False, "prompt_upsampling": True}

    dev = write_body(call_from({}, upstream_model="black-forest-labs/FLUX.2-dev", fields=fields))
    other = write_body(call_from({}, upstream_model="Qwen/Qwen-Image", fields=fields))

    assert (dev["guidance"], dev["prompt_upsampling"]) == (3, False)
    assert "guidance_scale" not in dev
    assert other["guidance_scale"] == 3


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("black-forest-labs/FLUX.1-kontext-max", "image_url"),
        ("black-forest-labs/FLUX.2-dev", "reference_images"),
        ("google/gemini-3-pro-image", "reference_images"),
    ],
)
def test_a_picture_goes_where_the_model_looks_for_it(model: str, name: str) -> None:
    body = write_body(call_from({}, upstream_model=model, images=["png 8x8"]))

    assert {"image_url", "reference_images"} & set(body) == {name}


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
