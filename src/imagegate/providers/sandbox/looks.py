"""How a painted picture is finished: the style a caller names, its guidance, and how many steps it was given."""

from dataclasses import dataclass
from hashlib import sha256

from PIL import Image, ImageEnhance, ImageFilter

SATURATION = {"vivid": 1.6, "natural": 0.65}
TINT = 0.22
"""How much of a style's own colour lies over the picture."""
SHARP_STEPS = 20
"""Fewer leave a picture blurred."""


@dataclass(frozen=True, slots=True)
class Look:
    """style: any words. guidance: the higher, the more contrast. steps: few leave it blurred, many sharp."""

    style: str | None = None
    guidance: float | None = None
    steps: int | None = None


PLAIN = Look()


def develop(picture: Image.Image, look: Look) -> Image.Image:
    """The same picture in this look; itself where the look says nothing. One pass for each thing that is said."""
    if look.steps is not None:
        picture = finished(picture, look.steps)
    if look.style in SATURATION:
        picture = ImageEnhance.Color(picture).enhance(SATURATION[look.style])
    colour = None if look.style is None or look.style in SATURATION else colour_of(look.style)
    if look.guidance is None and colour is None:
        return picture
    contrast = 1.0 if look.guidance is None else 0.7 + 0.04 * min(30.0, max(0.0, look.guidance))
    return picture.point(
        [level for channel in range(3) for level in levels(contrast, colour and colour[channel])]
    )


def finished(picture: Image.Image, steps: int) -> Image.Image:
    if steps >= SHARP_STEPS:
        return ImageEnhance.Sharpness(picture).enhance(1 + min(steps, 200) / 50)
    return picture.filter(ImageFilter.BoxBlur(0.3 + min(picture.size) * (SHARP_STEPS - max(1, steps)) / 3000))


def levels(contrast: float, tint: int | None) -> list[int]:
    """What becomes of the 256 levels of a channel."""
    spread = [128 + (level - 128) * contrast for level in range(256)]
    tinted = spread if tint is None else [level * (1 - TINT) + tint * TINT for level in spread]
    return [round(min(255.0, max(0.0, level))) for level in tinted]


def colour_of(style: str) -> tuple[int, int, int]:
    red, green, blue = sha256(style.encode("utf-8", "surrogatepass")).digest()[:3]
    return red, green, blue
