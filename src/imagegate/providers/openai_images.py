"""Cuts the megabytes of base64 out of an answer before the rest is parsed: parsed, they would be copied twice more."""

from typing import Any

from pydantic_core import from_json

SMALL_BYTES = 64 * 1024
FIELD = b'"b64_json"'
STAND_IN = "cut out, number "


def parse_answer(body: bytes) -> Any:
    """The answer as JSON; a long `b64_json` of its `data` is a view into `body`. Raises ValueError."""
    if len(body) < SMALL_BYTES or b"\\" in body:
        return from_json(body)  # an escape inside base64 is rare, and legal
    rest, cut = cut_out(body)
    parsed = from_json(rest)
    data = parsed.get("data") if isinstance(parsed, dict) else None
    for entry in data if isinstance(data, list) else ():
        if isinstance(entry, dict) and isinstance(stands := entry.get("b64_json"), str):
            entry["b64_json"] = cut.pop(stands)
    return from_json(body) if cut else parsed  # one stood where no image belongs


def cut_out(body: bytes) -> tuple[bytes, dict[str, memoryview]]:
    """The body with a short stand-in for every string at the field, and what each stands for."""
    whole, pieces, cut, done = memoryview(body), list[Any](), dict[str, memoryview](), 0
    while (found := body.find(FIELD, done)) >= 0:
        begin = opening_quote(body, found + len(FIELD))
        end = body.find(b'"', begin + 1) if begin else -1
        if end < 0:
            pieces.append(whole[done : found + len(FIELD)])
            done = found + len(FIELD)
            continue
        name = f"{STAND_IN}{len(cut)}"
        cut[name] = whole[begin + 1 : end]
        pieces += (whole[done : begin + 1], name.encode())
        done = end
    pieces.append(whole[done:])
    return b"".join(pieces), cut


def opening_quote(body: bytes, at: int) -> int:
    """Where the string begins that follows `:`; 0 when something else follows."""
    colon = skip_blanks(body, at)
    if body[colon : colon + 1] != b":":
        return 0
    quote = skip_blanks(body, colon + 1)
    return quote if body[quote : quote + 1] == b'"' else 0


def skip_blanks(body: bytes, at: int) -> int:
    while body[at : at + 1] in (b" ", b"\n", b"\r", b"\t"):
        at += 1
    return at
