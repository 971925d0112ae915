"""The pictures of recorded cases: drawn from words (wire_cases.py says which), and found again in what was sent."""

import base64
import json
from dataclasses import dataclass
from email import message_from_bytes
from functools import cache
from hashlib import sha256
from io import BytesIO
from typing import Any

import httpx
from PIL import Image

from imagegate.domain import InputImage, ProviderCall, Size

MIMES = {name: f"image/{name}" for name in ("png", "jpeg", "webp", "gif", "avif")}


@cache
def draw(words: str, number: int) -> InputImage:
    """`png 64x48`: one colour, another for every number."""
    form, size = words.split()
    return encoded(Image.new("RGB", edges(size), (40 * number % 256, 90, 200)), form)


@cache
def draw_mask(words: str) -> InputImage:
    """`png 64x48`, or `png 64x48 grey`: the left half is to be redrawn, by its alpha or by its white."""
    form, size, *colours = words.split()
    width, height = edges(size)
    grey = colours == ["grey"]
    mask = Image.new("L", (width, height), 0) if grey else Image.new("RGBA", (width, height), (0, 0, 0, 255))
    mask.paste(255 if grey else (0, 0, 0, 0), (0, 0, width // 2, height))
    return encoded(mask, form)


def edges(size: str) -> tuple[int, int]:
    parsed = Size.parse(size)
    assert parsed is not None, size
    return parsed.width_px, parsed.height_px


def encoded(image: Image.Image, form: str) -> InputImage:
    buffer = BytesIO()
    image.save(buffer, form.upper())
    data = buffer.getvalue()
    return InputImage(data=data, format=form, size=Size(*image.size), sha256=sha256(data).digest())


def filled(sent: Any, call: ProviderCall) -> Any:
    """What a case says was sent, with the pictures of the call where it says `$image` or `$mask` and `as`."""
    if isinstance(sent, list):
        return [filled(value, call) for value in sent]
    if not isinstance(sent, dict):
        return sent
    if "as" not in sent or not ("$image" in sent or "$mask" in sent):
        return {name: filled(value, call) for name, value in sent.items()}
    image = call.mask if "$mask" in sent else call.images[sent["$image"]]
    assert image is not None
    assert image.data is not None
    text = base64.b64encode(image.data).decode()
    return {"base64": text, "data_url": f"data:{MIMES[str(image.format)]};base64,{text}"}[sent["as"]]


@dataclass(frozen=True)
class Part:
    """One part of a form. file: its file's name; None: it is a text."""

    name: str
    file: str | None
    mime: str
    content: bytes


def parts_of(request: httpx.Request) -> list[Part]:
    kind = request.headers["content-type"]
    whole = message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + request.content)
    return [
        Part(
            str(part.get_param("name", header="content-disposition")),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True) or b"",
        )
        for part in whole.get_payload()
    ]


def sent_by(request: httpx.Request, call: ProviderCall) -> Any:
    """The body as a case tells it: JSON as it is; of a form the fields, and what each of its files holds."""
    if not request.content:
        return None
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return json.loads(request.content)
    fields: dict[str, list[Any]] = {}
    for part in parts_of(request):
        told = part.content.decode() if part.file is None else file_told(part, call)
        fields.setdefault(part.name, []).append(told)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def file_told(part: Part, call: ProviderCall) -> dict[str, Any]:
    """`{"$file": 0}`, `{"$mask": true}`; what is none of ours is told by its length. Its type and name must fit."""
    ours: list[tuple[dict[str, Any], InputImage | None]] = [({"$mask": True}, call.mask)]
    ours += [({"$file": number}, image) for number, image in enumerate(call.images)]
    for told, image in ours:
        if image is not None and image.data == part.content:
            assert part.mime == MIMES[str(image.format)], f"the file {part.file} is sent as {part.mime}"
            assert "." in str(part.file), f"the file {part.file!r} has no ending"
            return told
    return {"$file": f"{len(part.content)} unknown bytes"}
