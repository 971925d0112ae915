"""A caller's own pictures, drawn over: the first fills the picture, the others lie upon it as small ones."""

import io
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageOps

from imagegate.providers.sandbox.canvas import WHITE

Box = tuple[int, int, int, int]

DRAWN_OVER = 0.4
"""How much of what is painted shows through the first picture; the rest is the caller's."""


def rework(painted: Image.Image, pictures: Sequence[bytes], mask: bytes | None) -> Image.Image:
    """The first picture at the size of `painted`, changed by it; or replaced by it where the mask is transparent.

    What is transparent in the first picture itself shows what is painted. Raises OSError or ValueError for a picture
    that cannot be read.
    """
    first = fitted(pictures[0], painted.size)
    if mask is None:
        picture = Image.blend(first.convert("RGB"), painted, DRAWN_OVER)
        if first.mode == "RGBA":
            picture = Image.composite(picture, painted, first.getchannel("A"))
        lay_insets(picture, pictures[1:], (0, 0, *picture.size))
        return picture
    redrawn = ImageChops.invert(fitted(mask, painted.size).convert("RGBA").getchannel("A"))
    if room := redrawn.getbbox():
        lay_insets(painted, pictures[1:], room)
    return Image.composite(painted.convert(first.mode), first, redrawn)


def fitted(data: bytes, size: tuple[int, int]) -> Image.Image:
    """The picture scaled until it fills `size`, its overhang cut off on both sides alike; RGB or RGBA."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.draft("RGB", size)
        mode = "RGBA" if picture.has_transparency_data else "RGB"
        whole = picture.convert(mode)
    times = min(whole.width // size[0], whole.height // size[1])
    if times >= 4:  # far too large: the quick way first
        whole = whole.reduce(times // 2)
    return ImageOps.fit(whole, size, Image.Resampling.BICUBIC)


def lay_insets(picture: Image.Image, pictures: Sequence[bytes], room: Box) -> None:
    """Small framed squares in rows from the upper left corner of `room`, as many as it holds."""
    left, upper, right, lower = room
    edge = max(4, min(right - left, lower - upper) // 5)
    gap = max(1, edge // 8)
    a_row = max(1, (right - left - gap) // (edge + gap))
    for place, data in enumerate(pictures):
        x = left + gap + (place % a_row) * (edge + gap)
        y = upper + gap + (place // a_row) * (edge + gap)
        picture.paste(WHITE, (x - 1, y - 1, x + edge + 1, y + edge + 1))
        small = fitted(data, (edge, edge))
        picture.paste(small, (x, y), small if small.mode == "RGBA" else None)
