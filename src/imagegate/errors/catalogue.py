"""Every code that an error can carry, with what it means and what to do: `catalogue.yaml`, beside this file.

The gateway shows it at `/docs/errors`, where the `Link` header of every error leads, and the documentation has it too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

PAGE = "/docs/errors"
FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True, slots=True)
class Entry:
    """status: over HTTP. retry: whether the same request, sent again, can help; depends: the answer says it."""

    code: str
    status: int
    type: str
    retry: Literal["never", "always", "depends"]
    means: str
    do: str


def link_of(code: str) -> str:
    """The `Link` header of an error with this code; relative, so that it holds at whatever address we are reached."""
    return f'<{PAGE}#{code}>; rel="help"'


@cache
def load_errors() -> Mapping[str, tuple[Entry, ...]]:
    """Every entry, by the part of the catalogue it stands in."""
    parts = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {part: tuple(Entry(code, **told) for code, told in codes.items()) for part, codes in parts.items()}
