"""Texts that look alike are one text; others stay apart."""

import pytest

from imagegate.moderation.normal import folded, plain


@pytest.mark.parametrize(
    "text",
    [
        "BOMB",
        "ｂｏｍｂ",
        "b\u200bo\u200dm\ufeffb",
        "bo\u00admb",
        "b\u0336o\u0336m\u0336b\u0336",
        "bоmb",
        "bοmb",
        "  𝐛𝐨𝐦𝐛\t",
        "b\u202eomb",
        "b\u2800omb",
        "bo\U000e0001mb",
        "bömb",
    ],
)
def test_one_word_in_many_clothes_is_one_word(text: str) -> None:
    assert folded(text) == "bomb"


@pytest.mark.parametrize("text", ["b0mb", "b o m b", "bomber", "βomb"])
def test_what_only_a_reader_would_see_stays_what_it_is(text: str) -> None:
    assert folded(text) != "bomb"


def test_marks_that_are_letters_of_their_script_are_kept() -> None:
    assert folded("किताब") == "किताब"
    assert folded("が") != folded("か")
    assert folded("ไทย ที่") == "ไทย ที่"


def test_a_text_in_cyrillic_equals_itself_in_capitals() -> None:
    assert folded("ЗАПРЕЩЁННОЕ СЛОВО") == folded("запрещённое слово")


def test_plain_keeps_letters_and_marks() -> None:
    assert plain("Ｂombe\u200b  Бомба Żółć") == "bombe бомба żółć"


def test_folding_again_changes_nothing() -> None:
    for text in ("ǅ ß ﬁ İstanbul Ⅻ ﷺ", "Бо́мба", "e\u0301\u200b\u0301", "ΰ ὈΔΥΣΣΕΎΣ"):
        assert folded(folded(text)) == folded(text)
