"""Words, phrases and patterns; what a bad line says; and that no pattern can take its time."""

from pathlib import Path

import pytest
import re2

from imagegate.errors import OperatorError
from imagegate.moderation.blocklist import Blocklist
from imagegate.moderation.verdicts import Subject


def subject(prompt: str, negative: str | None = None) -> Subject:
    return Subject("mod_1", "input", "block", "acc_1", prompt, negative)


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        ("forbidden fruit", "a Forbidden \n FRUIT bowl", True),
        ("forbidden fruit", "a forbidden fruitcake", False),
        ("cat", "concatenate", False),
        ("cat", "cat", True),
        ("cat", "(cat)", True),
        ("cat", "cat_food", False),
        ("c++", "draw c++ code", True),
        ("бомба", "Эта БОМБА!", True),
        ("бомб", "бомба", False),
        ("bomb", "а bоmb", True),
        ("re:bomb(e|en)?s?\\b", "two Bombs", True),
        ("re:^a fox$", "A  fox", True),
        ("re:^a fox$", "a fox runs", False),
        ("re:бомб[аы]", "две бомбы", True),
        ("re:\\d{3}-\\d{4}", "call 555-1234", True),
    ],
)
def test_what_a_line_finds(line: str, text: str, found: bool) -> None:
    assert Blocklist([line]).finds(text) is found


def test_blank_lines_and_comments_are_no_entries() -> None:
    assert not Blocklist(["", "  ", "# a comment", "\u200b"])
    assert not Blocklist()


def test_the_negative_prompt_is_looked_at_too() -> None:
    blocklist = Blocklist(["gore"])

    assert blocklist.judge(subject("a fox", "gore")).flagged
    assert not blocklist.judge(subject("a fox", "blur")).flagged


def test_a_finding_does_not_say_which_entry_it_was() -> None:
    finding = Blocklist(["secretword"]).judge(subject("a secretword"))

    assert "secretword" not in str(finding)
    assert finding.categories == ("blocklist",)


@pytest.mark.parametrize("line", ["re:(a", r"re:(a)\1", "re:(?<=a)b", "re:a{1,9999}"])
def test_a_pattern_that_is_none_refuses_the_start_and_names_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "words.txt"
    file.write_text(f"# words\nfine\n{line}\n")

    with pytest.raises(OperatorError, match="MODERATION_BLOCKLIST_FILE, line 3"):
        Blocklist.read(file)


@pytest.mark.parametrize("line", ["re:", "re:a*", "re:(a|)"])
def test_a_pattern_that_would_refuse_everything_is_refused(line: str) -> None:
    with pytest.raises(OperatorError, match="line 1: the pattern matches an empty text"):
        Blocklist([line])


def test_a_file_that_cannot_be_read_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")

    for name in ("absent", "bytes"):
        with pytest.raises(OperatorError, match="cannot be read"):
            Blocklist.read(tmp_path / name)


def test_every_entry_is_matched_by_the_linear_engine_and_by_no_other() -> None:
    """A pattern that makes a backtracking engine double its work with every character."""
    blocklist = Blocklist([r"re:(a+)+$", r"re:(x+x+)+y", "a word"])
    engines = (blocklist._words, blocklist._patterns)

    assert [type(engine) for engine in engines] == [type(re2.compile("a"))] * 2
    assert not blocklist.finds("a" * 30_000 + "!")
    assert not blocklist.finds("x" * 30_000)


def test_ten_thousand_phrases_are_one_look() -> None:
    lines = [f"phrase {n} of many" for n in range(10_000)]

    blocklist = Blocklist(lines)

    assert blocklist.finds("here is phrase 9999 of many")
    assert not blocklist.finds("phrase 10001 of many " * 1000)


def test_the_version_changes_with_the_entries_and_not_with_their_order() -> None:
    versions = {Blocklist(lines).version for lines in (["a", "b"], ["b", "a"], ["a"], ["a", "re:b"], [])}

    assert len(versions) == 4
