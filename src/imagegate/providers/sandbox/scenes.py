"""All scenes by name; those of the sea, the city and space are here."""

from collections.abc import Callable, Mapping
from math import cos, pi, sin

from PIL import Image, ImageDraw

from imagegate.providers.sandbox.canvas import (
    BLACK,
    EDGE,
    WHITE,
    Canvas,
    Colour,
    Polygon,
    block,
    ground,
    lens,
    lit,
    mix,
    oval,
    ridge,
    stencil,
    strip,
    swell,
)
from imagegate.providers.sandbox.landscapes import (
    at_depth,
    desert,
    forest,
    lake,
    meadow,
    mountains,
    peaks,
    place_sun,
    winter,
)
from imagegate.providers.sandbox.moods import Mood, Theme
from imagegate.providers.sandbox.things import LAMP, birds, boat, heavens, stars


def sea(canvas: Canvas, theme: Theme) -> None:
    mood, h, u, rng = theme.mood, canvas.height, canvas.unit, canvas.rng
    horizon = int(h * rng.uniform(0.5, 0.6))
    x = canvas.width * rng.uniform(0.3, 0.7)
    heavens(canvas, mood, x, horizon - u * rng.uniform(0.08, 0.3), u * rng.uniform(0.07, 0.11))
    if rng.random() < 0.6:
        peaks(canvas, mood, horizon - u * 0.02, u * 0.1, 0.3, 0.0, horizon + u * 0.01)
    deep = mix(lit((24, 96, 136), mood.light), mood.sky[0], 0.35)
    canvas.mirror(horizon, deep, 0.5)
    waves(canvas, mood, horizon, x)
    if "lighthouse" in theme.motifs or rng.random() < 0.3:
        lighthouse(canvas, mood, canvas.width * 0.84, h * 0.74, u * 0.3)
    if "boat" in theme.motifs or rng.random() < 0.6:
        hull = lit((120, 52, 44), mood.light)
        boat(canvas, canvas.width * rng.uniform(0.2, 0.45), h * 0.74, u * 0.2, mix(WHITE, mood.haze, 0.25), hull)
    birds(canvas, mix(mood.sky[0], BLACK, 0.4))
    if not mood.dark and rng.random() < 0.6:
        beach(canvas, mood)


def waves(canvas: Canvas, mood: Mood, horizon: int, sun_x: float) -> None:
    """Glints under the sun, wider and rarer towards us, and long dark swells."""
    rng, u, deep = canvas.rng, canvas.unit, canvas.height - horizon
    glints, swells = [], []
    for _ in range(90):
        t = rng.random() ** 1.4
        x = sun_x + rng.gauss(0, 1) * u * (0.04 + 0.12 * t)
        glints.append(lens(x, horizon + deep * t, u * (0.02 + 0.12 * t), u * (0.0015 + 0.006 * t)))
    for _ in range(60):
        t = rng.random()
        x = rng.random() * canvas.width
        swells.append(lens(x, horizon + deep * t, u * (0.05 + 0.4 * t), u * (0.001 + 0.008 * t)))
    canvas.paint(swells, mix(mood.sky[0], BLACK, 0.25), opacity=0.22)
    canvas.paint(glints, mix(mood.sun, WHITE, 0.4), opacity=0.55)


def beach(canvas: Canvas, mood: Mood) -> None:
    sand = lit((240, 214, 168), mix(mood.light, WHITE, 0.2))
    line = swell(canvas, canvas.height * 0.92, canvas.unit * 0.025, 0.7)
    foam = [(x, y - canvas.unit * 0.014) for x, y in line]
    canvas.paint([ground(canvas, foam)], WHITE, opacity=0.8, soft_px=canvas.unit * 0.002)
    canvas.paint([ground(canvas, line)], mix(sand, BLACK, 0.16), sand)


def lighthouse(canvas: Canvas, mood: Mood, x: float, foot: float, tall: float) -> None:
    """On its rock; at night with its beam."""
    if mood.dark or mood.name in ("dusk", "sunset"):
        lamp_y, far = foot - tall * 0.93, canvas.width
        canvas.paint([[(x, lamp_y), (x - far, lamp_y - far * 0.26), (x - far, lamp_y - far * 0.1)]], LAMP, opacity=0.2)
        canvas.glow(x, lamp_y, tall * 0.5, LAMP, 0.8)
    white, red = lit((250, 246, 240), mood.light), lit((206, 56, 52), mood.light)
    for i in range(5):
        low, high = tall * 0.17 * i, tall * 0.17 * (i + 1)
        wide, thin = tall * (0.13 - 0.014 * i), tall * (0.13 - 0.014 * (i + 1))
        canvas.paint([[(x - wide, foot - low), (x - thin, foot - high), (x + thin, foot - high), (x + wide, foot - low)]], red if i % 2 else white)
    canvas.paint([block(x - tall * 0.085, foot - tall * 0.87, tall * 0.17, tall * 0.025)], mix(red, BLACK, 0.6))
    canvas.paint([block(x - tall * 0.045, foot - tall * 0.97, tall * 0.09, tall * 0.1)], LAMP)
    canvas.paint([[(x - tall * 0.07, foot - tall * 0.96), (x, foot - tall * 1.06), (x + tall * 0.07, foot - tall * 0.96)]], red)
    stone = at_depth(mood, (70, 66, 76), 0.9)
    rock = [(x - tall * 0.7, foot + tall * 0.22), (x - tall * 0.4, foot + tall * 0.02), (x - tall * 0.1, foot - tall * 0.03),
            (x + tall * 0.25, foot), (x + tall * 0.5, foot + tall * 0.06), (x + tall * 0.9, foot + tall * 0.22)]  # fmt: skip
    canvas.paint([rock], stone, mix(stone, BLACK, 0.4))


def city(canvas: Canvas, theme: Theme) -> None:
    mood, h, u, rng = theme.mood, canvas.height, canvas.unit, canvas.rng
    place_sun(canvas, mood, 0.18, 0.42)
    quay = int(h * 0.82) if rng.random() < 0.6 else h
    street = min(quay, int(h * 0.94))
    for tall, near, wide in ((0.5, 0.22, 0.075), (0.42, 0.5, 0.1), (0.3, 0.82, 0.13)):
        skyline(canvas, mood, street, u * tall, near, u * wide)
    if quay < h:
        canvas.mirror(quay, lit((30, 60, 100), mood.light), 0.3)
        strokes = [lens(rng.random() * canvas.width, quay + (h - quay) * rng.random(), u * 0.12, u * 0.004) for _ in range(50)]
        canvas.paint(strokes, mix(mood.sky[2], WHITE, 0.2), opacity=0.22)
    else:
        canvas.paint([block(0, street - 1, canvas.width, h - street + 1)], at_depth(mood, (44, 46, 60), 1.0), BLACK)


def skyline(canvas: Canvas, mood: Mood, street: int, tall: float, near: float, wide: float) -> None:
    """One row of buildings, with its windows."""
    rng, x = canvas.rng, -wide * canvas.rng.random()
    wall = at_depth(mood, (72, 84, 116), near)
    shapes: list[Polygon] = []
    fronts: list[tuple[float, float, float]] = []
    while x < canvas.width:
        width, height = wide * rng.uniform(0.6, 1.25), tall * rng.uniform(0.4, 1.0) * (1.35 if rng.random() < 0.15 else 1.0)
        shapes.append(block(x, street - height, width, height))
        crown = rng.random()
        if crown < 0.25:
            shapes.append(block(x + width * 0.2, street - height * 1.08, width * 0.6, height * 0.1))
        elif crown < 0.45:
            shapes.append([(x + width * 0.46, street - height), (x + width * 0.5, street - height * 1.22), (x + width * 0.54, street - height)])
        elif crown < 0.6:
            shapes.append([(x, street - height), (x + width, street - height), (x + width, street - height * 1.12)])
        fronts.append((x, street - height, width))
        x += width * rng.uniform(1.0, 1.12)
    canvas.paint(shapes, mix(wall, BLACK, 0.1), mix(wall, mood.haze, 0.5 - 0.4 * near))
    windows(canvas, mood, wall, fronts, street, near)


def windows(
    canvas: Canvas, mood: Mood, wall: Colour, fronts: list[tuple[float, float, float]], street: int, near: float
) -> None:
    pen, rng = ImageDraw.Draw(canvas.image), canvas.rng
    late = mood.dark or mood.name in ("dusk", "sunset")
    pane = max(2, int(canvas.unit * (0.004 + 0.005 * near)))
    glass = [mix(wall, colour, 0.25 + 0.65 * near) for colour in ((255, 206, 112), (255, 232, 176), (255, 176, 90), (170, 220, 255))]
    day = [mix(wall, mix(mood.sky[1], WHITE, 0.3), 0.12 + 0.3 * near)] * 2
    for x, top, width in fronts:
        columns = int((width - pane) // (pane * 2))
        if columns < 1:
            continue
        margin = (width - columns * pane * 2 + pane) / 2
        for row in range(int((street - top) // (pane * 2.4)) - 1):
            y = int(top + pane * 1.5 + row * pane * 2.4)
            for column in range(columns):
                if rng.random() < (0.42 if late else 0.7):
                    left = int(x + margin + column * pane * 2)
                    colour = glass[int(rng.random() ** 2 * 4)] if late else day[0]
                    pen.rectangle((left, y, left + pane - 1, y + pane), fill=colour)


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
    planet(canvas, x + u * rng.uniform(0.28, 0.36), y - u * rng.uniform(0.12, 0.25), u * rng.uniform(0.03, 0.06), mix(mood.haze, WHITE, 0.3))
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
    bands = [mix(tone, canvas.rng.choice((WHITE, BLACK, tone)), canvas.rng.uniform(0.05, 0.35)) for _ in range(9)]
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
        turned = [(x + px * cos(tilt) - py * sin(tilt), y + px * sin(tilt) + py * cos(tilt)) for px, py in band]
        canvas.paint([turned], colour, opacity=shine)


SCENES: Mapping[str, Callable[[Canvas, Theme], None]] = {
    "city": city,
    "desert": desert,
    "forest": forest,
    "lake": lake,
    "meadow": meadow,
    "mountains": mountains,
    "sea": sea,
    "space": space,
    "winter": winter,
}
