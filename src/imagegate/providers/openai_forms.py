"""What the adapters of OpenAI's wire share of edits: multipart forms with files.

Wire format: https://platform.openai.com/docs/api-reference/images, read 2026-11-21. A GPT Image model takes up to 16
pictures (png, jpeg, webp) of less than 50 MB each, and a mask of less than 4 MB.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagegate.domain import InputImage, ProviderCall
from imagegate.errors import ProviderRejected
from imagegate.outbound import Answer, FormFile, Outbound
from imagegate.providers import openai_wire as wire

MARKUP = "markup"
EDITS_ONLY = ("input_fidelity", MARKUP)
MAX_MARKUP_CHARS = 28 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart body: its text parts, then its files."""

    fields: Mapping[str, str]
    files: tuple[FormFile, ...]


def write_form(call: ProviderCall, body: Mapping[str, Any], *, provider: str) -> Form:
    """The edit that the pictures of the call and the fields of a body stand for. Raises ProviderRejected.

    `markup` comes as text, a data URL or base64 of a PNG that is drawn over the first picture, and goes as a file;
    beside a mask it would be refused.
    """
    files = [*pictures(call.images), *mask_of(call)]
    if (markup := body.get(MARKUP)) is not None:
        if call.mask is not None:
            detail = "takes no markup beside a mask. Send one of both."
            raise ProviderRejected(provider, detail, param=MARKUP)
        files.append(FormFile(MARKUP, "markup.png", decoded(markup, provider), "image/png"))
    return Form(texts({name: value for name, value in body.items() if name != MARKUP}), tuple(files))


def pictures(images: Sequence[InputImage], *, one: str = "image", several: str = "image[]") -> list[FormFile]:
    """A file for every picture, named alike; a lone one has the plain name."""
    name = one if len(images) == 1 else several
    return [file_of(name, image, f"image-{number}") for number, image in enumerate(images, start=1)]


def mask_of(call: ProviderCall, name: str = "mask") -> list[FormFile]:
    return [] if call.mask is None else [file_of(name, call.mask, "mask")]


def file_of(part: str, image: InputImage, stem: str) -> FormFile:
    form = image.format or "png"
    return FormFile(part, f"{stem}.{form}", image.data or b"", f"image/{form}")


def texts(body: Mapping[str, Any]) -> dict[str, str]:
    """Text parts: words as they are, numbers and truths as in JSON, a group's members as `group[member]`."""
    made: dict[str, str] = {}
    for name, value in body.items():
        if isinstance(value, Mapping):
            made |= texts({f"{name}[{inner}]": more for inner, more in value.items()})
        elif value is not None:
            made[name] = value if isinstance(value, str) else json.dumps(value)
    return made


def decoded(text: Any, provider: str) -> bytes:
    """The bytes of a data URL or of base64. Raises ProviderRejected for whatever else stands there."""
    content = text.partition(",")[2] if isinstance(text, str) and text[:5].lower() == "data:" else text
    try:
        if not isinstance(content, str) or not 0 < len(content) <= MAX_MARKUP_CHARS:
            raise ValueError
        return base64.b64decode(content, validate=True)
    except (ValueError, binascii.Error) as error:
        detail = "takes a markup that is a PNG, as a data URL or in base64."
        raise ProviderRejected(provider, detail, param=MARKUP) from error


async def create(
    outbound: Outbound,
    call: ProviderCall,
    url: str,
    form: Form,
    *,
    provider: str,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """As `wire.create`, with a form."""
    return await outbound.post_form(
        url,
        fields=form.fields,
        files=form.files,
        headers=wire.headers_for(call) if headers is None else headers,
        provider=provider,
        timeout_s=call.deadline_s,
        max_bytes=wire.max_answer_bytes(call),
    )
