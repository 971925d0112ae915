"""A canvas that paints soft-edged polygons and gradients, and the polygons that scenery is made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi, sin
from random import Random

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Polygon = Sequence[Point]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)

EDGE = 176
"""Pillow's radial gradient where its circle touches the sides of its square."""


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """`a` at t = 0, `b` at t = 1."""
    t = min(1.0, max(0.0, t))
    return (round(a[0] + (b[0] - a[0]) * t), round(a[1] + (b[1] - a[1]) * t), round(a[2] + (b[2] - a[2]) * t))


def lit(material: Colour, light: Colour) -> Colour:
    """What a material looks like under a light."""
    return (material[0] * light[0] // 255, material[1] * light[1] // 255, material[2] * light[2] // 255)


def strip(colours: Sequence[Colour], width: int, height: int) -> Image.Image:
    """A vertical gradient through evenly spaced colours."""
    few = Image.frombytes(
        "RGB", (1, len(colours)), bytes(channel for colour in colours for channel in colour)
    )
    between = (0, 0.5, 1, len(colours) - 0.5)  # from the middle of the first pixel to the middle of the last
    column = few.resize((1, height), Image.Resampling.BILINEAR, box=between)
    return column.resize((width, height), Image.Resampling.NEAREST)


@dataclass(frozen=True, slots=True)
class Canvas:
    """`unit` is the shorter edge; coordinates are pixels of the working picture, edges are anti-aliased."""

    image: Image.Image
    rng: Random

    @property
    def width(self) -> int:
        return self.image.width

    @property
    def height(self) -> int:
        return self.image.height

    @property
    def unit(self) -> int:
        return min(self.image.size)

    def sky(self, colours: Sequence[Colour]) -> None:
        self.image.paste(strip(colours, self.width, self.height))

    def paint(
        self,
        shapes: Iterable[Polygon],
        top: Colour,
        foot: Colour | None = None,
        *,
        opacity: float = 1.0,
        soft_px: float = 0.0,
    ) -> None:
        """Fill shapes together, from `top` at their highest point to `foot` at their lowest."""
        shapes = [s for s in shapes if len(s) > 2]
        if not shapes:
            return
        high, low = min(y for s in shapes for _, y in s), max(y for s in shapes for _, y in s)
        margin = int(soft_px * 2) + 1
        left = max(0, int(min(x for s in shapes for x, _ in s)) - margin)
        right = min(self.width, int(max(x for s in shapes for x, _ in s)) + 1 + margin)
        upper, lower = max(0, int(high) - margin), min(self.height, int(low) + 1 + margin)
        if right <= left or lower <= upper:
            return
        mask = stencil(shapes, (left, upper, right, lower), opacity)
        if soft_px:
            mask = mask.filter(ImageFilter.GaussianBlur(soft_px))
        if foot is None or foot == top:
            self.image.paste(top, (left, upper, right, lower), mask)
            return
        span = max(1.0, low - high)
        first, last = mix(top, foot, (upper - high) / span), mix(top, foot, (lower - high) / span)
        self.image.paste(strip((first, last), right - left, lower - upper), (left, upper), mask)

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Light that fades out to nothing at `radius`."""
        left, right = max(0, int(x - radius)), min(self.width, int(x + radius))
        upper, lower = max(0, int(y - radius)), min(self.height, int(y + radius))
        if right <= left or lower <= upper:
            return
        levels = [int(strength * 255 * max(0.0, 1 - v / EDGE) ** 2) for v in range(256)]
        k, cx, cy = 128 / radius, x - radius, y - radius
        seen = (
            max(0, (left - cx) * k),
            max(0, (upper - cy) * k),
            min(256, (right - cx) * k),
            min(256, (lower - cy) * k),
        )
        fade = Image.radial_gradient("L").point(levels)
        mask = fade.resize((right - left, lower - upper), Image.Resampling.BILINEAR, box=seen)
        self.image.paste(colour, (left, upper, right, lower), mask)

    def mirror(self, horizon: int, tint: Colour, amount: float) -> None:
        """Water below `horizon`: the picture above it upside down, smeared and tinted."""
        depth = self.height - horizon
        if horizon < 1 or depth < 1:
            return
        above = self.image.crop((0, max(0, horizon - depth * 3 // 2), self.width, horizon))
        small = above.resize((max(1, self.width // 4), max(1, depth // 4)), Image.Resampling.BOX)
        small = small.transpose(Image.Transpose.FLIP_TOP_BOTTOM).filter(ImageFilter.BoxBlur((2, 1)))
        small = Image.blend(small, strip((mix(tint, WHITE, 0.12), tint), *small.size), amount)
        self.image.paste(small.resize((self.width, depth), Image.Resampling.BILINEAR), (0, horizon))


def stencil(shapes: Iterable[Polygon], box: tuple[int, int, int, int], opacity: float) -> Image.Image:
    """The coverage of shapes inside a box of pixels, 0 to 255."""
    left, upper, right, lower = box
    k = 3 if (right - left) * (lower - upper) < 400_000 else 2
    mask = Image.new("L", ((right - left) * k, (lower - upper) * k))
    pen = ImageDraw.Draw(mask)
    for shape in shapes:
        pen.polygon([((x - left) * k, (y - upper) * k) for x, y in shape], fill=round(opacity * 255))
    return mask.reduce(k)


def oval(x: float, y: float, rx: float, ry: float | None = None) -> list[Point]:
    ry = rx if ry is None else ry
    n = 20 if rx < 12 else 72
    return [(x + rx * cos(2 * pi * i / n), y + ry * sin(2 * pi * i / n)) for i in range(n)]


def block(x: float, y: float, width: float, height: float) -> list[Point]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def placed(outline: Iterable[Point], x: float, foot: float, size: float) -> list[Point]:
    """An outline given in sizes right of and above (x, foot)."""
    return [(x + size * right, foot - size * up) for right, up in outline]


def lens(x: float, y: float, length: float, thickness: float) -> list[Point]:
    """A thin level stroke, pointed at both ends: a streak of cloud or a glint on water."""
    half, up = length / 2, thickness / 2
    bows = [
        (-1.0, 0.0),
        (-0.6, -0.7),
        (0.0, -1.0),
        (0.6, -0.7),
        (1.0, 0.0),
        (0.6, 0.7),
        (0.0, 1.0),
        (-0.6, 0.7),
    ]
    return [(x + half * a, y + up * b) for a, b in bows]


def ridge(canvas: Canvas, base: float, swing: float, roughness: float, points: int = 8) -> list[Point]:
    """A skyline by midpoint displacement: 2 ** points steps around `base`, at first `swing` pixels apart."""
    heights = [canvas.rng.uniform(-0.5, 0.5) * swing for _ in range(3)]
    step = swing * 0.75
    for _ in range(points - 1):
        finer = []
        for a, b in pairwise(heights):
            finer += [a, (a + b) / 2 + canvas.rng.uniform(-0.5, 0.5) * step]
        heights = [*finer, heights[-1]]
        step *= roughness
    last = len(heights) - 1
    return [(canvas.width * i / last, base - h) for i, h in enumerate(heights)]


def swell(canvas: Canvas, base: float, swing: float, waves: float) -> list[Point]:
    """A smooth skyline: hills, dunes, long waves."""
    a, b = canvas.rng.uniform(0, 2 * pi), canvas.rng.uniform(0, 2 * pi)
    steps = 96
    return [
        (
            canvas.width * i / steps,
            base
            + swing
            * (0.7 * sin(a + waves * 2 * pi * i / steps) + 0.3 * sin(b + waves * 4.6 * pi * i / steps)),
        )
        for i in range(steps + 1)
    ]


def ground(canvas: Canvas, skyline: Polygon, foot: float | None = None) -> list[Point]:
    """Everything between a skyline and `foot`, by default the lower edge."""
    low = canvas.height if foot is None else foot
    return [*skyline, (canvas.width, low), (0, low)]


def height_at(skyline: Polygon, x: float) -> float:
    """The skyline's y at x."""
    steps = len(skyline) - 1
    at = min(max(x / skyline[-1][0] * steps, 0), steps - 0.001)
    i = int(at)
    return skyline[i][1] + (skyline[i + 1][1] - skyline[i][1]) * (at - i)
