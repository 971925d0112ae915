"""What the adapters share whose providers answer like OpenAI: sentences, images and charges."""

import json
import re
from decimal import Decimal

import pytest

from imagegate.domain import ProviderImage
from imagegate.outbound import Answer
from imagegate.providers import openai_wire as wire
from imagegate.providers.openai_images import SMALL_BYTES
from imagegate.providers.openai_likes import NO_MONEY, REFUSED, image_of, money_of, understood

SIGNS = {NO_MONEY: re.compile("credits"), REFUSED: re.compile("moderation")}


def code_of(said: object, status: int = 400) -> str | None:
    return understood(wire.Complaint(code="own"), said, SIGNS, Answer(status, {}, b"")).code


@pytest.mark.parametrize("status", [200, 400, 403, 422])
def test_a_sentence_about_moderation_is_a_refusal(status: int) -> None:
    assert code_of("stopped by moderation", status) == REFUSED


@pytest.mark.parametrize("status", [401, 402, 404, 429, 500, 502, 503])
def test_a_sentence_about_moderation_is_no_refusal_where_none_can_be(status: int) -> None:
    assert code_of("the moderation is busy", status) == "own"


@pytest.mark.parametrize("said", ["a wrong size", "", None, 7, ["moderation"], {"moderation": 1}])
def test_a_sentence_that_says_nothing_leaves_the_complaint_as_it_is(said: object) -> None:
    assert code_of(said) == "own"


def test_the_first_sign_counts() -> None:
    assert code_of("no credits for moderation") == NO_MONEY


@pytest.mark.parametrize(
    ("said", "stage"),
    [
        ("the prompt failed moderation", "input"),
        ("the Generated image failed moderation", "output"),
        ("moderation: images were flagged", "output"),
    ],
)
def test_a_refusal_says_whether_something_had_been_made(said: str, stage: str) -> None:
    assert understood(wire.Complaint(), said, SIGNS, Answer(400, {}, b"")).stage == stage


@pytest.mark.parametrize("length", [12, SMALL_BYTES + 4], ids=["short", "long"])
@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,", "DATA:image/png;charset=x;base64,"])
def test_base64_is_read_with_and_without_the_head_of_a_data_url(prefix: str, length: int) -> None:
    content = "A" * length
    answer = Answer(200, {}, json.dumps({"data": [{"b64_json": prefix + content}]}).encode())

    image = image_of(wire.parse_json(answer)["data"][0])

    assert image is not None
    assert isinstance(image.b64, memoryview) == (length > SMALL_BYTES)
    assert (
        bytes(image.b64 if isinstance(image.b64, memoryview) else str(image.b64).encode()).decode() == content
    )


def test_base64_goes_before_a_link() -> None:
    assert image_of({"b64_json": "AAAA", "url": "https://a.test/x"}) == ProviderImage(b64="AAAA")


@pytest.mark.parametrize(
    "entry",
    [{}, {"b64_json": "", "url": ""}, {"b64_json": 7, "url": ["x"]}, {"b64_json": "data:image/png;base64,"}],
)
def test_an_entry_without_an_image_is_none(entry: dict[str, object]) -> None:
    assert image_of(entry) is None


@pytest.mark.parametrize(
    ("count", "usd"),
    [(35, "0.035"), (0, "0"), (1_500, "1.5"), (2.5, "0.0025"), (10**8, "1E+5")],
)
def test_a_count_of_units_is_exact_money(count: object, usd: str) -> None:
    assert money_of(count, Decimal("0.001")) == Decimal(usd)


@pytest.mark.parametrize(
    "count", [None, True, "35", -1, 10**9, 10**60, float("nan"), float("inf"), [35], {"usd": 1}]
)
def test_what_is_no_count_is_no_money(count: object) -> None:
    assert money_of(count, Decimal("0.001")) is None
