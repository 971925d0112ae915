"""Multipart forms, written by httpx."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class FormFile:
    """One part that is a file. `field` may occur more than once, as `image[]` does."""

    field: str
    name: str
    data: bytes
    mime: str


def build_form(fields: Mapping[str, str | Sequence[str]], files: Sequence[FormFile]) -> tuple[bytes, str]:
    """The body and its content type. Without files it is multipart all the same; a list is a part for each value."""
    parts: list[tuple[str, tuple[str | None, str | bytes, str | None]]] = [
        (name, (None, value, None))
        for name, values in fields.items()
        for value in ((values,) if isinstance(values, str) else values)
    ]
    parts += [(file.field, (file.name, file.data, file.mime)) for file in files]
    request = httpx.Request("POST", "http://form.invalid", files=parts)
    return request.read(), request.headers["content-type"]
