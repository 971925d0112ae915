"""Small pictures in every format, made by Pillow."""

from io import BytesIO
from typing import Any

from PIL import Image

FORMATS = ("png", "jpeg", "webp", "gif", "avif")


def picture(mode: str = "RGB", width_px: int = 64, height_px: int = 40) -> Image.Image:
    """Left half red, right half blue; with an alpha channel the lower half is transparent."""
    image = Image.new("RGB", (width_px, height_px), (255, 0, 0))
    image.paste((0, 0, 255), (width_px // 2, 0, width_px, height_px))
    if mode in ("RGBA", "LA"):
        image.putalpha(255)
        image.paste((0, 0, 255, 0), (0, height_px // 2, width_px, height_px))
    return image.convert(mode)


def encoded(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    out = BytesIO()
    (image or picture()).save(out, format=format.upper(), **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image
