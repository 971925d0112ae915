"""Cutting long base64 out of an answer gives what parsing gives."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from imagegate.providers.openai_images import SMALL_BYTES, parse_answer

LONG = "QUJD" * (SMALL_BYTES // 4 + 1)


def plain(value: object) -> object:
    """The same with views as text."""
    if isinstance(value, memoryview):
        return bytes(value).decode()
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "body",
    [
        {"created": 1, "data": [{"b64_json": LONG, "revised_prompt": "a cat"}, {"b64_json": LONG + "QUJD"}]},
        {"data": [{"b64_json": LONG}], "note": '"b64_json"'},
        {"data": [{"b64_json": None, "url": "x" * SMALL_BYTES}]},
        {"data": [{"b64_json": [LONG]}]},
        {"b64_json": LONG, "data": []},
        {"data": [{"b64_json": "", "pad": LONG}]},
        {"data": [{"b64_json": "cut out, number 0", "pad": LONG}, {"b64_json": LONG}]},
        [LONG],
    ],
)
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}])
def test_it_reads_what_a_parser_reads(body: object, style: dict[str, object]) -> None:
    raw = json.dumps(body, **style).encode()  # type: ignore[arg-type]

    assert plain(parse_answer(raw)) == from_json(raw)


def test_long_base64_is_a_view_and_escapes_are_understood() -> None:
    raw = json.dumps({"data": [{"b64_json": LONG}]}).encode()
    escaped = raw.replace(b"QUJD", rb"QUJ\u0044", 1)

    assert isinstance(parse_answer(raw)["data"][0]["b64_json"], memoryview)
    assert parse_answer(escaped)["data"][0]["b64_json"] == LONG


WHOLE = json.dumps({"data": [{"b64_json": LONG}]}).encode()


@given(st.integers(0, len(WHOLE) - 1))
def test_an_answer_that_was_cut_off_is_no_json(length: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 the parser's own
        parse_answer(WHOLE[:length])
