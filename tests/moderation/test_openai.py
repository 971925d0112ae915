"""What is asked of a moderation endpoint, and how its answers are read."""

import json
from typing import Any

import pytest

from imagegate.errors import OperatorError
from imagegate.moderation.openai import read_answer, read_thresholds, write_body
from imagegate.moderation.verdicts import ModeratorFailed, Picture


def result(flagged: bool, scores: dict[str, float], **more: Any) -> dict[str, Any]:
    categories = {name: score > 0.5 for name, score in scores.items()}
    return {"results": [{"flagged": flagged, "categories": categories, "category_scores": scores, **more}]}


def test_a_text_alone_is_a_string_and_a_picture_a_data_url() -> None:
    alone = json.loads(write_body("m", "a fox", None))
    both = json.loads(write_body("m", "a fox", Picture(b"\x89PNG", "image/png")))

    assert alone == {"model": "m", "input": "a fox"}
    url = "data:image/png;base64,iVBORw=="
    parts = [{"type": "text", "text": "a fox"}, {"type": "image_url", "image_url": {"url": url}}]
    assert both == {"model": "m", "input": parts}


@pytest.mark.parametrize(
    ("body", "thresholds", "flagged", "categories"),
    [
        (result(False, {"violence": 0.1}), {}, False, ()),
        (result(True, {"violence": 0.9, "sexual": 0.1}), {}, True, ("violence",)),
        (result(False, {"violence": 0.4}), {"violence": 0.3}, True, ("violence",)),
        (result(True, {"violence": 0.6}), {"violence": 0.9}, False, ()),
        (result(True, {"violence": 0.6, "sexual": 0.7}), {"violence": 0.9}, True, ("sexual",)),
        ({"results": [{"flagged": True}]}, {}, True, ()),
        ({"results": [{"flagged": True, "categories": []}]}, {"violence": 0.9}, True, ()),
        ({"results": [{"flagged": False}, {"flagged": True, "categories": {"x": True}}]}, {}, True, ("x",)),
        ({"results": [{"flagged": False, "categories": None, "category_scores": "?"}]}, {}, False, ()),
        (
            {"results": [{"flagged": True, "categories": {"violence": True}}]},
            {"violence": 0.9},
            True,
            ("violence",),
        ),
    ],
)
def test_how_an_answer_is_read(
    body: dict[str, Any], thresholds: dict[str, float], flagged: bool, categories: tuple[str, ...]
) -> None:
    found = read_answer(body, thresholds)

    assert (found.flagged, found.categories) == (flagged, categories)


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"results": []}, {"results": [{}]}, {"results": [{"flagged": 1}]}, {"results": [7]}],
)
def test_an_answer_that_says_nothing_is_a_failure(body: Any) -> None:
    with pytest.raises(ModeratorFailed):
        read_answer(body, {})


def test_thresholds_are_read_or_refuse_the_start() -> None:
    assert read_thresholds(" violence=0.8, self-harm/intent=1 ,") == {
        "violence": 0.8,
        "self-harm/intent": 1.0,
    }
    for wrong in ("violence", "violence=2", "=0.5", "violence=nan", "violence=x"):
        with pytest.raises(OperatorError, match="MODERATION_OPENAI_THRESHOLDS"):
            read_thresholds(wrong)
