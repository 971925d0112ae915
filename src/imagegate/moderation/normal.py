"""One spelling for texts that look alike, so that a word is found however it is written.

What is undone: compatibility forms (NFKC), case, white space, characters that cannot be seen, combining marks of
Latin, Greek and Cyrillic, and the Cyrillic and Greek letters that look like a small Latin one. What is not: digits
and signs in place of letters (`b0mb`), letters spaced apart, and capitals of other scripts whose small form looks
different; undoing those would find words in harmless texts.
"""

import unicodedata

MARKS = ((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))
"""Combining marks of these scripts only: in Indic scripts, Thai and Hebrew they are letters of the word."""
UNSEEN = (
    *((0xFE00, 0xFE0F), (0xE0100, 0xE01EF)),  # variation selectors
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180E), (0x3164, 0x3164)),
    *((0xFFA0, 0xFFA0), (0x2800, 0x2800)),  # fillers and a blank of braille
)
LOOKALIKES = dict(
    zip(
        "аесорхуіјѕԁһӏԛԝѵαοριυχνκɡɑı",
        "aecopxyijsdhlqwvaopiuxvkgai",
        strict=True,
    )
)
SEEN_AS = str.maketrans(LOOKALIKES)
DROPPED = dict.fromkeys(code for first, last in (*MARKS, *UNSEEN) for code in range(first, last + 1))
UNSEEN_ONLY = dict.fromkeys(code for first, last in UNSEEN for code in range(first, last + 1))


def plain(text: str) -> str:
    """Compatibility forms, case, white space and what cannot be seen are evened out; marks and letters stay."""
    if text.isascii():
        return " ".join(text.lower().split())
    seen = unicodedata.normalize("NFKC", without_format(text.translate(UNSEEN_ONLY))).casefold()
    return " ".join(unicodedata.normalize("NFC", seen).translate(UNSEEN_ONLY).split())


def folded(text: str) -> str:
    """As `plain`, and marks are gone and look-alikes are Latin. Both sides of a comparison must be."""
    if text.isascii():
        return plain(text)
    apart = unicodedata.normalize("NFD", plain(text)).translate(DROPPED)
    return " ".join(unicodedata.normalize("NFC", apart).translate(SEEN_AS).split())


def without_format(text: str) -> str:
    """Without format characters: zero-width ones, soft hyphens, marks of direction, tags."""
    return "".join([char for char in text if char.isascii() or unicodedata.category(char) != "Cf"])
