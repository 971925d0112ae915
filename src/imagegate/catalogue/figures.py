"""The figures of a catalogue file, each checked as it is read: sizes, USD, tokens, days, ranks, weights."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

from imagegate.domain import Size


def parse_size(value: object) -> Size:
    size = Size.parse(value) if isinstance(value, str) else None
    if size is None:
        raise ValueError("must be a size such as 1024x768")
    return size


def check_grid(value: object) -> object:
    """A number, or numbers by size, by quality, or by size and then quality."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or not (Size.parse(key) or re.fullmatch(r"[a-z]{2,20}", key)):
                raise ValueError(f"{key!r} is neither a size such as 1024x768 nor a quality")
            if isinstance(inner, Mapping) and (not Size.parse(key) or any(Size.parse(str(k)) for k in inner)):
                raise ValueError("goes by size first and then by quality")
    return value


def day_text(value: object) -> object:
    """YAML reads an unquoted day as a date."""
    return value.isoformat() if isinstance(value, date) else value


SizeText = Annotated[Size, BeforeValidator(parse_size)]
Usd = Annotated[Decimal, Field(ge=0, le=1000)]
Tokens = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Rank = Annotated[int | None, Field(ge=1, le=10_000, strict=True)]
Weight = Annotated[int | None, Field(ge=0, le=10_000, strict=True)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$"), BeforeValidator(day_text)]
