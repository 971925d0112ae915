"""A blocklist: a text that contains one of its words or phrases, or matches one of its patterns, is flagged.

Texts are compared as `normal` writes them. Patterns are those of RE2, which takes time linear in the text whatever
the pattern is (https://github.com/google/re2/wiki/Syntax, read 2026-11-21): no back-references, no look-around.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagegate.errors import OperatorError
from imagegate.moderation.normal import folded, plain
from imagegate.moderation.verdicts import Finding, Subject

NAME = "blocklist"
SETTING = "IMAGEGATE_MODERATION_BLOCKLIST_FILE"
PATTERN = "re:"
MOST_BYTES = 4 * 1024 * 1024
MEMORY_BYTES = 64 * 1024 * 1024
"""What the engine may keep of a compiled list; it forgets and stays linear when that is not enough."""
BEFORE, AFTER = r"(?:^|[^\pL\pN\pM_])", r"(?:[^\pL\pN\pM_]|$)"
"""The edge of a word in any script; the engine's own `\\b` knows ASCII only."""


class Blocklist:
    """lines: words and phrases, and patterns behind `re:`. Raises OperatorError naming the line that is wrong."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        words: set[str] = set()
        patterns: list[str] = []
        for number, line in enumerate(lines, 1):
            if line.startswith(PATTERN):
                patterns.append(checked_pattern(line.removeprefix(PATTERN).strip(), number))
            elif not line.startswith("#"):
                words.add(folded(line))
        words.discard("")
        self._words = compiled_words(sorted(words)) if words else None
        self._patterns = compiled("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
        self.version = hashlib.sha256("\n".join([*sorted(words), "", *patterns]).encode()).hexdigest()[:12]

    def __bool__(self) -> bool:
        """Whether anything is on it."""
        return self._words is not None or self._patterns is not None

    @classmethod
    def read(cls, path: Path | None) -> "Blocklist":
        """One entry a line; blank lines and lines that begin with # are left out. Raises OperatorError."""
        if path is None:
            return cls()
        try:
            content = path.read_bytes()
            if len(content) > MOST_BYTES:
                raise OperatorError(f"{SETTING} is larger than {MOST_BYTES // 2**20} MB. Shorten it.")
            return cls(content.decode("utf-8-sig").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(f"{SETTING} cannot be read: {error}") from None

    def judge(self, subject: Subject) -> Finding:
        """Of the texts alone, at once. Does not say which entry it was."""
        found = any(self.finds(text) for text in subject.texts)
        return Finding(NAME, found, (NAME,) if found else ())

    def finds(self, text: str) -> bool:
        whole = folded(text)
        if self._words is not None and self._words.search(whole):
            return True
        if self._patterns is None:
            return False
        said = plain(text)
        return bool(self._patterns.search(said) or (said != whole and self._patterns.search(whole)))


def checked_pattern(pattern: str, number: int) -> str:
    """The pattern itself. Raises OperatorError when it is none, or matches a text without a character."""
    where = f"{SETTING}, line {number}"
    try:
        matches_nothing = compiled(pattern).search("") is not None
    except Exception as error:
        why = (
            error.args[0].decode("utf-8", "replace")
            if error.args and isinstance(error.args[0], bytes)
            else error
        )
        raise OperatorError(
            f"{where}: the pattern is not one that RE2 takes ({why}). Back-references and look-around are not."
        ) from None
    if matches_nothing:
        raise OperatorError(f"{where}: the pattern matches an empty text, and so would refuse every prompt.")
    return pattern


def compiled_words(words: Sequence[str]) -> Any:
    """Any of them as whole words. Raises OperatorError when they are too many for the engine."""
    import re2

    try:
        return compiled(f"{BEFORE}(?:{'|'.join(map(re2.escape, words))}){AFTER}")
    except re2.error as error:
        raise OperatorError(f"{SETTING} is too long to be searched for: {error}. Shorten it.") from None


def compiled(pattern: str) -> Any:
    """The engine takes 10 ms to import, and few gateways have a list."""
    import re2

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = MEMORY_BYTES
    return re2.compile(pattern, options)
