"""Masks in the three conventions that providers have, and from one into another.

`alpha`: an RGBA PNG, transparent where the picture is to be redrawn; callers send this. `white` and `black`: a grey
PNG, redrawn where it is white or black.
"""

from io import BytesIO

from PIL import Image

from imagegate.domain import InputImage, Size
from imagegate.errors import InvalidRequest
from imagegate.media import images
from imagegate.media.inputs import remade
from imagegate.pool import Unworkable, WorkPool

CONVENTIONS = ("alpha", "white", "black")
HALF = [0] * 128 + [255] * 128
INVERTED = list(range(255, -1, -1))
PNG_COLOUR_TYPE = 25
WITH_ALPHA_CHANNEL = (4, 6)
"""PNG's grey and RGB with an alpha channel (w3.org/TR/png-3, 11.2.1, read 2026-11-21)."""

HINT = "Send a PNG with an alpha channel, transparent where the image is to be redrawn."


async def check_mask(pool: WorkPool, mask: InputImage, first: Size, convention: str = "alpha") -> None:
    """Both are measured; `first` is the size of the first image.

    Raises InvalidRequest for a mask of another size, and for one without transparency where that is the convention.
    """
    if mask.size != first:
        text = f"The mask is {mask.size}, the first image {first}. Send a mask of the image's size."
        raise InvalidRequest(text, code="invalid_image", param="mask")
    if convention == "alpha" and not await has_alpha(pool, mask):
        raise InvalidRequest(f"The mask has no transparency. {HINT}", code="invalid_image", param="mask")


async def has_alpha(pool: WorkPool, mask: InputImage) -> bool:
    """Whether the file can hold transparency, told from its headers. Raises InvalidRequest."""
    if is_ready(mask, "alpha", "alpha"):
        return True
    try:
        return await pool.apart(alpha_of, mask.data or b"", mask.format or "png") == b"alpha"
    except Unworkable:
        raise InvalidRequest(f"The mask cannot be read. {HINT}", code="invalid_image", param="mask") from None


def alpha_of(data: bytes, format: str) -> bytes:
    """`alpha` or nothing. Blocking. Raises whatever decoders meet hostile bytes with."""
    opened = images.OPENERS[format](BytesIO(data))
    return b"alpha" if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info else b""


def convert_mask(data: bytes, target: str, source: str = "alpha", *, soft: bool = False) -> bytes:
    """A PNG of the same size in another convention. Blocking.

    Half transparent counts as opaque from 128 on, unless `soft`. Raises NotAnImage.
    """
    if target not in CONVENTIONS or source not in CONVENTIONS:
        raise ValueError(f"a mask is one of {CONVENTIONS}, not {target!r} of {source!r}")
    kept = kept_of(images.decode(data, images.probe(data)), source)
    if not soft:
        kept = kept.point(HALF)
    if target == "white":
        return images.encode(kept.point(INVERTED), "png", None)
    if target == "black":
        return images.encode(kept, "png", None)
    clear = Image.new("RGBA", kept.size, (0, 0, 0, 0))
    clear.putalpha(kept)
    return images.encode(clear, "png", None)


def kept_of(mask: Image.Image, source: str) -> Image.Image:
    """What is to be kept as a grey image: 255 is kept, 0 redrawn. mask: RGB or RGBA."""
    if source == "alpha":
        return mask.getchannel("A") if mask.mode == "RGBA" else Image.new("L", mask.size, 255)
    grey = mask.convert("L")
    return grey.point(INVERTED) if source == "white" else grey


def is_ready(mask: InputImage, convention: str, source: str) -> bool:
    if mask.format != "png" or convention != source or mask.data is None:
        return False
    return convention != "alpha" or mask.data[PNG_COLOUR_TYPE] in WITH_ALPHA_CHANNEL


async def prepared_mask(
    pool: WorkPool, mask: InputImage, convention: str, source: str = "alpha"
) -> InputImage:
    """A measured mask in an offering's convention; the mask itself, byte for byte, where it is right already.

    Raises InvalidRequest when it cannot be decoded.
    """
    if is_ready(mask, convention, source):
        return mask
    try:
        data = await pool.apart(convert_mask, mask.data or b"", convention, source)
    except Unworkable as error:
        raise InvalidRequest(f"The mask {error}. {HINT}", code="invalid_image", param="mask") from None
    return await pool.run(remade, data)
