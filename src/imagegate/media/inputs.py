"""Pictures that callers hand in: measured here by their headers, decoded apart, where a picture can break nothing."""

import hashlib
from collections.abc import Collection
from dataclasses import replace

from imagegate.domain import InputImage
from imagegate.errors import InvalidRequest
from imagegate.media import images
from imagegate.pool import Unworkable, WorkPool

NO_ALPHA = frozenset({"jpeg"})


def measured(image: InputImage, param: str) -> InputImage:
    """Format, size and checksum of the image's bytes, without decoding a pixel. Blocking: the bytes are hashed.

    Raises InvalidRequest `invalid_image` or `image_too_large`, naming `param`.
    """
    data = image.data or b""
    found = images.probe_input(data, param=param)
    return replace(image, format=found.format, size=found.size, sha256=image.sha256 or digest(data))


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def remade(data: bytes) -> InputImage:
    """An image that we have encoded ourselves."""
    return measured(InputImage(data=data), "image")


async def acceptable(pool: WorkPool, image: InputImage, formats: Collection[str]) -> InputImage:
    """The image as it is where its format is one of `formats` (all when empty), else in one of them.

    PNG, which loses nothing, before the others. Raises InvalidRequest when it cannot be decoded.
    """
    if not formats or image.format in formats:
        return image
    kind = "png" if "png" in formats else sorted(formats)[0]
    return await converted(pool, image, kind)


async def converted(pool: WorkPool, image: InputImage, kind: str) -> InputImage:
    """It is turned as its EXIF orientation says, so that its size may change. Raises InvalidRequest."""
    try:
        data = await pool.apart(images.convert, image.data or b"", format=kind)
    except Unworkable as error:
        text = f"The image {error}. Send another one, or this one as a plain PNG or JPEG."
        raise InvalidRequest(text, code="invalid_image", param="image") from None
    return await pool.run(remade, data)
