"""Space: a nebula, stars, a banded planet that may have rings."""

from math import cos, pi, sin

from PIL import Image

from imagegate.providers.sandbox.canvas import (
    BLACK,
    EDGE,
    WHITE,
    Canvas,
    Colour,
    ground,
    mix,
    oval,
    ridge,
    stencil,
    strip,
)
from imagegate.providers.sandbox.moods import Mood, Theme
from imagegate.providers.sandbox.things import stars


def space(canvas: Canvas, theme: Theme) -> None:
    mood, w, h, u, rng = theme.mood, canvas.width, canvas.height, canvas.unit, canvas.rng
    canvas.image.paste(nebula(canvas, mood).resize((w, h), Image.Resampling.BILINEAR))
    stars(canvas, 1.0)
    x, y, r = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.34, 0.48), u * rng.uniform(0.17, 0.25)
    tone = mix(mood.sky[2], mood.sky[1], rng.uniform(0.2, 0.7))
    ringed, tilt = rng.random() < 0.7, rng.uniform(-0.5, 0.5)
    canvas.glow(x, y, r * 1.9, tone, 0.4)
    if ringed:
        ring(canvas, x, y, r, mix(tone, WHITE, 0.4), tilt, front=False)
    planet(canvas, x, y, r, tone)
    if ringed:
        ring(canvas, x, y, r, mix(tone, WHITE, 0.4), tilt, front=True)
    planet(
        canvas,
        x + u * rng.uniform(0.28, 0.36),
        y - u * rng.uniform(0.12, 0.25),
        u * rng.uniform(0.03, 0.06),
        mix(mood.haze, WHITE, 0.3),
    )
    for base, dim in ((0.84, 0.7), (0.92, 0.88)):
        soil = mix(mix(mood.haze, mood.sky[0], 0.4), BLACK, dim)
        canvas.paint([ground(canvas, ridge(canvas, h * base, u * 0.12, 0.5))], mix(soil, tone, 0.14), soil)


def nebula(canvas: Canvas, mood: Mood) -> Image.Image:
    """Clouds of coloured gas, at a quarter of the canvas: they have no edges to lose."""
    small = Canvas(Image.new("RGB", (max(1, canvas.width // 4), max(1, canvas.height // 4))), canvas.rng)
    small.sky((mix(BLACK, mood.sky[1], 0.08), mix(BLACK, mood.sky[0], 0.4), mix(BLACK, mood.sky[1], 0.35)))
    drift = canvas.rng.uniform(-0.5, 0.5)
    for i in range(22):
        along, off = canvas.rng.random(), canvas.rng.gauss(0, 0.11)
        x, y = small.width * along, small.height * (0.42 + drift * (along - 0.5) + off)
        colour = (mood.sky[0], mood.sky[1], mood.sky[2], mood.haze)[i % 4]
        small.glow(x, y, small.unit * canvas.rng.uniform(0.12, 0.42), colour, canvas.rng.uniform(0.2, 0.55))
    return small.image


def planet(canvas: Canvas, x: float, y: float, r: float, tone: Colour) -> None:
    """A banded globe, lit from the upper left."""
    box = (int(x - r) - 1, int(y - r) - 1, int(x + r) + 2, int(y + r) + 2)
    size = (box[2] - box[0], box[3] - box[1])
    bands = [
        mix(tone, canvas.rng.choice((WHITE, BLACK, tone)), canvas.rng.uniform(0.05, 0.35)) for _ in range(9)
    ]
    face = strip(bands, *size).rotate(canvas.rng.uniform(-25, 25), Image.Resampling.BILINEAR, fillcolor=tone)
    disc = stencil([oval(x, y, r)], box, 1.0)
    dusk = Image.radial_gradient("L").point([int(240 * min(1.0, (v / EDGE) ** 2)) for v in range(256)])
    shade = dusk.resize((size[0] * 2, size[1] * 2), Image.Resampling.BILINEAR)
    right, low = int(size[0] * 0.72), int(size[1] * 0.72)
    face.paste(mix(BLACK, tone, 0.06), (0, 0), shade.crop((right, low, right + size[0], low + size[1])))
    canvas.image.paste(face, box[:2], disc)


def ring(canvas: Canvas, x: float, y: float, r: float, colour: Colour, tilt: float, *, front: bool) -> None:
    """Half of a planet's rings: behind it, or before it."""
    for inner, outer, shine in ((1.35, 1.62, 0.75), (1.68, 1.95, 0.5)):
        arcs = []
        for radius in (inner, outer):
            angles = [pi * i / 48 + (0 if front else pi) for i in range(49)]
            arcs.append([(r * radius * cos(a), r * radius * 0.26 * sin(a)) for a in angles])
        band = [*arcs[0], *reversed(arcs[1])]
        turned = [
            (x + px * cos(tilt) - py * sin(tilt), y + px * sin(tilt) + py * cos(tilt)) for px, py in band
        ]
        canvas.paint([turned], colour, opacity=shine)
