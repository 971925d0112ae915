"""A picture from a prompt: the same words and seed always give the same bytes."""

import io
import zlib
from dataclasses import dataclass
from hashlib import sha256
from math import sqrt
from random import Random
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from imagegate.domain import Size
from imagegate.providers.sandbox.canvas import Canvas, oval, stencil
from imagegate.providers.sandbox.editing import rework
from imagegate.providers.sandbox.looks import PLAIN, Look, develop
from imagegate.providers.sandbox.moods import read_theme
from imagegate.providers.sandbox.scenes import paint_scene

MAX_EDGE_PX = 4096
WORKING_PX = 1_850_000
"""Larger pictures are drawn at about this many pixels and enlarged smoothly."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw. `index`: its place among the n of its call. `quality`: 0 to 100, for JPEG and WebP.

    thought: how hard the drawer thinks, which changes what it draws. pictures: the bytes of those to work from.
    mask: a PNG, transparent where the first of them is to be redrawn.
    """

    prompt: str
    index: int
    size: Size
    seed: int | str | None = None
    format: str = "png"
    quality: int = 90
    transparent: bool = False
    unwanted: str = ""
    thought: str | None = None
    look: Look = PLAIN
    pictures: tuple[bytes, ...] = ()
    mask: bytes | None = None


def draw(drawing: Drawing) -> bytes:
    """Paint and encode. Takes tens of milliseconds of a core at 1024x1024: not for the event loop.

    Raises OSError or ValueError where one of the pictures to work from cannot be read.
    """
    picture = develop(paint(drawing), drawing.look)
    if drawing.pictures:
        picture = rework(picture, drawing.pictures, drawing.mask)
    if drawing.transparent and drawing.format in ("png", "webp"):
        picture.putalpha(vignette(picture.size))
    if drawing.mask is None:  # what a mask keeps is kept to the pixel
        write_caption(picture, drawing.prompt)
    return encode(picture, drawing)


def paint(drawing: Drawing) -> Image.Image:
    width, height = drawing.size.width_px, drawing.size.height_px
    rng = dice(drawing)
    theme = read_theme(drawing.prompt, rng, drawing.unwanted)
    canvas = Canvas(Image.new("RGB", working_size(width, height)), rng)
    paint_scene(canvas, theme)
    if canvas.image.size == (width, height):
        return canvas.image
    return canvas.image.resize((width, height), Image.Resampling.BICUBIC)


def dice(drawing: Drawing) -> Random:
    name = f"{drawing.seed}\x00{drawing.index}\x00{drawing.prompt}"
    if drawing.thought is not None:
        name = f"{name}\x00{drawing.thought}"
    return Random(sha256(name.encode("utf-8", "surrogatepass")).digest())  # noqa: S311 - where trees stand is no secret


def working_size(width: int, height: int) -> tuple[int, int]:
    """Small pictures are drawn larger and big ones smaller; no edge gets so thin that a scene has no room."""
    scale = 2.0 if width * height < 400 * 400 else 1.0
    scale = max(scale, 192 / max(width, height))
    scale = min(scale, sqrt(WORKING_PX / (width * height)))
    return max(32, round(width * scale)), max(32, round(height * scale))


def vignette(size: tuple[int, int]) -> Image.Image:
    """An oval that fills the picture; outside it nothing."""
    width, height = size
    scale = min(1.0, 1024 / max(size))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    shape = oval(small[0] / 2, small[1] / 2, small[0] / 2, small[1] / 2)
    mask = stencil([shape], (0, 0, *small), 1.0)
    return mask if small == size else mask.resize(size, Image.Resampling.BICUBIC)


def write_caption(picture: Image.Image, prompt: str) -> None:
    """The prompt in one line at the foot, over a band that darkens downwards. Tiny pictures have none."""
    width, height = picture.size
    text = " ".join("".join(c if c.isprintable() else " " for c in prompt[:400]).split())
    points = max(9, min(picture.size) // 44)
    if not text or min(picture.size) < 48:
        return
    font = ImageFont.load_default(size=points)
    pad = points
    text = shortened(text, font, width - 2 * pad)
    band = int(points * 3.4)
    fade = (
        Image.linear_gradient("L").resize((width, band)).point([int(min(200, v * 1.1)) for v in range(256)])
    )
    opaque = (8, 10, 16) if picture.mode == "RGB" else (8, 10, 16, 255)
    picture.paste(opaque, (0, height - band), fade)
    pen = ImageDraw.Draw(picture)
    pen.text((pad, height - points * 0.75), text, font=font, fill=(244, 244, 248), anchor="ls")


def shortened(text: str, font: Any, room_px: float) -> str:
    """The text, cut with an ellipsis where it is wider than `room_px`."""
    if font.getlength(text) <= room_px:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle] + "…") <= room_px else (low, middle - 1)
    return text[:low].rstrip() + "…"


def encode(picture: Image.Image, drawing: Drawing) -> bytes:
    out = io.BytesIO()
    match drawing.format:
        case "jpeg":
            picture.save(out, "JPEG", quality=max(1, min(95, drawing.quality)))
        case "webp":
            picture.save(out, "WEBP", quality=drawing.quality, method=1)
        case _:
            picture.save(out, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return out.getvalue()
