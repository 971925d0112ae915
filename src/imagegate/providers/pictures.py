"""A caller's picture as the providers read one that take JSON: base64, or a data URL. Bytes as they came in."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from secrets import token_bytes
from typing import Any

import pybase64
from pydantic_core import to_json

from imagegate.domain import InputImage, ProviderCall
from imagegate.pool import WorkPool

STEP_BYTES = 3 * 256 * 1024
"""Of a picture that are encoded at once: a multiple of 3, so that no padding comes between."""


def mime_of(image: InputImage) -> str:
    return f"image/{image.format}"


def base64_of(image: InputImage) -> str:
    return pybase64.b64encode_as_string(image.data or b"")


def data_url(image: InputImage) -> str:
    return f"data:{mime_of(image)};base64,{base64_of(image)}"


async def written(
    pool: WorkPool, write: Callable[[ProviderCall], Mapping[str, Any]], call: ProviderCall
) -> Mapping[str, Any] | bytes:
    """The body of a call. With pictures in it as JSON already, made in a thread: it may have tens of megabytes."""
    return await pool.run(write_json, write, call) if call.images else write(call)


def write_json(write: Callable[[ProviderCall], Mapping[str, Any]], call: ProviderCall) -> bytes:
    """The body as JSON, written around short stand-ins for the pictures, which are put in last.

    Base64 needs no escaping, and to look for what does would stop all other threads for as long as it takes. It is made
    in steps: whole, it would be held beside the body that it goes into.
    """
    places: dict[bytes, InputImage] = {}

    def stand_in(image: InputImage) -> InputImage:
        token = token_bytes(24)
        places[pybase64.b64encode(token)] = image
        return replace(image, data=token)

    images = tuple(stand_in(image) for image in call.images)
    mask = stand_in(call.mask) if call.mask else None
    body = to_json(write(replace(call, images=images, mask=mask)))
    pieces = re.split(b"(%s)" % b"|".join(re.escape(place) for place in places), body)
    return joined([places.get(piece, piece) for piece in pieces])


def joined(pieces: Sequence[InputImage | bytes]) -> bytes:
    """Pictures as base64, everything else as it is; in a buffer that has its size from the beginning."""
    whole = BytesIO()
    whole.seek(sum(map(length_of, pieces)) - 1)
    whole.write(b"\0")
    whole.seek(0)
    for piece in pieces:
        if isinstance(piece, bytes):
            whole.write(piece)
            continue
        data = memoryview(piece.data or b"")
        for start in range(0, len(data), STEP_BYTES):
            whole.write(pybase64.b64encode(data[start : start + STEP_BYTES]))
    return whole.getvalue()


def length_of(piece: InputImage | bytes) -> int:
    return len(piece) if isinstance(piece, bytes) else (len(piece.data or b"") + 2) // 3 * 4
