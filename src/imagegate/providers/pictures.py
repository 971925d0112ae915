"""A caller's picture as the providers read one that take JSON: base64, or a data URL. Bytes as they came in."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from secrets import token_bytes
from typing import Any

import pybase64
from pydantic_core import to_json

from imagegate.domain import InputImage, ProviderCall
from imagegate.pool import WorkPool


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

    Base64 needs no escaping, and to look for what does would stop all other threads for as long as it takes.
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
    return b"".join(
        pybase64.b64encode(places[piece].data or b"") if piece in places else piece for piece in pieces
    )
