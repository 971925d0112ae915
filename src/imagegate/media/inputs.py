"""Pictures that callers hand in: measured, and brought into a format that a provider takes."""

import hashlib
from collections.abc import Collection
from dataclasses import replace

from imagegate.domain import InputImage
from imagegate.errors import InvalidRequest
from imagegate.media import images
from imagegate.media.formats import NotAnImage
from imagegate.pool import WorkPool

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
    return await pool.run(converted, image, kind)


def converted(image: InputImage, kind: str) -> InputImage:
    """Blocking. It is turned as its EXIF orientation says, so that its size may change."""
    try:
        return remade(images.convert(image.data or b"", format=kind))
    except NotAnImage as error:
        raise InvalidRequest(f"The image {error}.", code="invalid_image", param="image") from None
