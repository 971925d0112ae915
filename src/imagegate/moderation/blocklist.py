"""A blocklist: a prompt that contains one of its lines, as whole words, is refused.

Both sides are compared in NFKC, case-folded, with white space made one blank.
"""

import re
import unicodedata
from pathlib import Path

from imagegate.errors import ContentRejected, OperatorError


def normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Blocklist:
    def __init__(self, phrases: list[str]) -> None:
        words = sorted({normalised(phrase) for phrase in phrases} - {""}, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)") if words else None

    @classmethod
    def read(cls, path: Path | None) -> "Blocklist":
        """One phrase a line; blank lines and lines that begin with # are left out. Raises OperatorError."""
        if path is None:
            return cls([])
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(f"IMAGEGATE_MODERATION_BLOCKLIST_FILE cannot be read: {error}") from None
        return cls([line for line in lines if not line.startswith("#")])

    def check(self, prompt: str) -> None:
        """Raises ContentRejected. The message does not say which phrase it was."""
        if self._pattern is not None and self._pattern.search(normalised(prompt)):
            raise ContentRejected("This gateway's moderation refused the prompt. Nothing was charged.")
