"""The things that stand in a scene: sun and moon, stars, clouds, pines, houses, boats, birds."""

from math import cos, pi, sin

from PIL import ImageDraw

from imagegate.providers.sandbox.canvas import (
    BLACK,
    WHITE,
    Canvas,
    Colour,
    Point,
    block,
    lens,
    lit,
    mix,
    oval,
    placed,
)
from imagegate.providers.sandbox.moods import Mood

LAMP: Colour = (255, 206, 112)


def heavens(canvas: Canvas, mood: Mood, x: float, y: float, radius: float) -> None:
    """Sky, stars at night, sun or moon at (x, y) in pixels, streaks of cloud."""
    canvas.sky(mood.sky)
    if mood.dark:
        stars(canvas, 0.7)
    if mood.name == "aurora":
        aurora(canvas)
    if mood.dark:
        canvas.glow(x, y, radius * 4.5, mood.sun, 0.45)
        moon(canvas, mood, x, y, radius * 0.8)
    else:
        canvas.glow(x, y, canvas.unit * 0.62, mood.sun, 0.75)
        canvas.paint([oval(x, y, radius)], mix(mood.sun, WHITE, 0.4), mood.sun)
    clouds(canvas, mood)


def stars(canvas: Canvas, down_to: float) -> None:
    """Fewer and fainter towards the horizon."""
    pen = ImageDraw.Draw(canvas.image)
    size = max(1, canvas.unit // 640)
    for _ in range(min(300, 30 + canvas.width * canvas.height // 2000)):
        x, fall = canvas.rng.random() * canvas.width, canvas.rng.random()
        y = fall * fall * down_to * canvas.height
        shine = mix((120, 140, 190), WHITE, canvas.rng.random() * (1 - fall * 0.8))
        wide = size * 2 if canvas.rng.random() < 0.12 else size
        pen.ellipse((x, y, x + wide, y + wide), fill=shine)


def aurora(canvas: Canvas) -> None:
    """Curtains of light that hang from a wavy line."""
    rng, unit = canvas.rng, canvas.unit
    for colour in ((70, 240, 170), (90, 220, 220), (150, 110, 230)):
        phase, base = rng.uniform(0, 2 * pi), canvas.height * rng.uniform(0.26, 0.46)
        rays = []
        for i in range(40):
            x = canvas.width * i / 39
            y = base + unit * 0.07 * sin(phase + i / 6) + unit * 0.03 * sin(phase * 2 + i / 2.3)
            tall = unit * rng.uniform(0.12, 0.3)
            wide = canvas.width / 39
            rays.append(
                [(x, y), (x + wide, y + unit * 0.01), (x + wide * 1.1, y - tall), (x + wide * 0.1, y - tall)]
            )
        canvas.paint(rays, mix(colour, (10, 30, 60), 0.5), colour, opacity=0.42, soft_px=unit * 0.016)


def moon(canvas: Canvas, mood: Mood, x: float, y: float, radius: float) -> None:
    canvas.paint([oval(x, y, radius)], mood.sun, mix(mood.sun, (170, 176, 190), 0.35))
    spots = [(-0.35, -0.2, 0.24), (0.28, 0.3, 0.3), (0.3, -0.42, 0.14), (-0.2, 0.5, 0.12)]
    seas = [oval(x + radius * dx, y + radius * dy, radius * size) for dx, dy, size in spots]
    canvas.paint(seas, mix(mood.sun, (140, 146, 168), 0.55), opacity=0.45)


def clouds(canvas: Canvas, mood: Mood) -> None:
    colour = mix(mood.sky[2], WHITE, 0.1 if mood.dark else 0.55)
    for _ in range(canvas.rng.randrange(2, 6)):
        x, y = canvas.rng.random() * canvas.width, canvas.rng.uniform(0.08, 0.4) * canvas.height
        length, streaks = canvas.unit * canvas.rng.uniform(0.25, 0.6), []
        for i in range(4):
            shift = canvas.rng.uniform(-0.3, 0.3) * length
            rise = canvas.unit * 0.014 * i
            streaks.append(lens(x + shift, y + rise, length * canvas.rng.uniform(0.5, 1), canvas.unit * 0.02))
        canvas.paint(streaks, colour, opacity=0.16 if mood.dark else 0.4, soft_px=canvas.unit * 0.002)


def pine(x: float, foot: float, height: float, lean: float = 0.0) -> list[Point]:
    """A conifer: tiers that widen downwards, with drooping tips."""
    tiers, half = 7, height * 0.2
    right: list[Point] = []
    for i in range(1, tiers + 1):
        y, wide = foot - height * (1 - i / (tiers + 0.6)), half * i / tiers
        right += [(wide, y), (wide * 0.52, y - height * 0.012)]
    trunk = [(half * 0.1, foot - height * 0.06), (half * 0.1, foot)]
    outline = [*right[:-1], *trunk]
    left = [(-dx, y) for dx, y in reversed(outline)]
    return [(x + lean, foot - height), *((x + dx, y) for dx, y in outline), *((x + dx, y) for dx, y in left)]


def leafy(canvas: Canvas, x: float, foot: float, height: float, leaf: Colour, trunk: Colour) -> None:
    """A round tree, lit from above."""
    canvas.paint([block(x - height * 0.035, foot - height * 0.5, height * 0.07, height * 0.5)], trunk)
    crowns = [(-0.2, 0.55, 0.2), (0.2, 0.55, 0.21), (0.0, 0.72, 0.26), (-0.05, 0.5, 0.22)]
    canvas.paint(
        [oval(x + height * dx, foot - height * up, height * r) for dx, up, r in crowns],
        leaf,
        mix(leaf, BLACK, 0.45),
    )
    canvas.paint(
        [oval(x - height * 0.05, foot - height * 0.8, height * 0.13)], mix(leaf, WHITE, 0.3), opacity=0.35
    )


def house(canvas: Canvas, mood: Mood, x: float, foot: float, size: float) -> None:
    """A cottage with a lit window and a chimney."""
    wall, roof = lit((226, 208, 184), mood.light), lit((168, 66, 52), mood.light)
    canvas.paint([block(x + size * 0.62, foot - size * 1.02, size * 0.12, size * 0.4)], mix(roof, BLACK, 0.4))
    canvas.paint([block(x, foot - size * 0.55, size, size * 0.58)], wall, mix(wall, BLACK, 0.2))
    eaves = [
        (x - size * 0.1, foot - size * 0.52),
        (x + size * 0.5, foot - size * 1.05),
        (x + size * 1.1, foot - size * 0.52),
    ]
    canvas.paint([eaves], roof, mix(roof, BLACK, 0.25))
    panes = [block(x + size * dx, foot - size * 0.38, size * 0.18, size * 0.18) for dx in (0.14, 0.66)]
    canvas.paint(
        panes, LAMP if mood.dark or mood.name in ("dusk", "sunset") else lit((120, 160, 190), mood.light)
    )
    canvas.paint(
        [block(x + size * 0.41, foot - size * 0.34, size * 0.17, size * 0.36)], mix(roof, BLACK, 0.5)
    )
    if mood.dark:
        canvas.glow(x + size * 0.5, foot - size * 0.3, size * 1.2, LAMP, 0.4)


def boat(canvas: Canvas, x: float, y: float, size: float, sail: Colour, hull: Colour) -> None:
    canvas.paint([placed(MAINSAIL, x, y, size), placed(JIB, x, y, size)], sail, mix(sail, hull, 0.35))
    canvas.paint([placed(HULL, x, y, size)], hull)


MAINSAIL = [(0, 1), (0.42, 0.16), (0, 0.16)]
JIB = [(-0.04, 0.86), (-0.04, 0.16), (-0.32, 0.16)]
HULL = [(-0.42, 0.11), (0.5, 0.11), (0.34, 0), (-0.3, 0)]


def balloon(canvas: Canvas, mood: Mood, x: float, y: float, r: float, colour: Colour) -> None:
    """A hot-air balloon with two pale gores and its basket."""
    colour = mix(colour, lit(colour, mood.light), 0.6)
    skin: list[Point] = [(x + r * cos(a * pi / 24), y - r * sin(a * pi / 24)) for a in range(-4, 29)]
    canvas.paint(
        [[*skin, (x - r * 0.16, y + r * 1.25), (x + r * 0.16, y + r * 1.25)]],
        mix(colour, WHITE, 0.25),
        mix(colour, BLACK, 0.2),
    )
    canvas.paint([oval(x, y, r * 0.28, r * 0.98)], mix(colour, WHITE, 0.6), opacity=0.7)
    canvas.paint([block(x - r * 0.13, y + r * 1.42, r * 0.26, r * 0.2)], lit((120, 80, 50), mood.light))


def balloons(canvas: Canvas, mood: Mood) -> None:
    for size, colour, at in (
        (0.075, (222, 62, 60), 0.5),
        (0.045, (250, 176, 50), 0.78),
        (0.032, (60, 130, 200), 0.2),
    ):
        x = canvas.width * (at + canvas.rng.uniform(-0.08, 0.08))
        balloon(canvas, mood, x, canvas.height * canvas.rng.uniform(0.14, 0.42), canvas.unit * size, colour)


def birds(canvas: Canvas, colour: Colour) -> None:
    rng, unit = canvas.rng, canvas.unit
    x, y = rng.uniform(0.2, 0.7) * canvas.width, rng.uniform(0.15, 0.35) * canvas.height
    flock = []
    for _ in range(7):
        right, up = rng.uniform(-0.14, 0.14) * unit, rng.uniform(-0.07, 0.07) * unit
        flock.append(placed(BIRD, x + right, y - up, unit * rng.uniform(0.012, 0.022)))
    canvas.paint(flock, colour, opacity=0.85)


BIRD = [(0, 0), (-0.5, 0.45), (-1, 0.3), (-0.5, 0.3), (0, -0.16), (0.5, 0.3), (1, 0.3), (0.5, 0.45)]


def cat(canvas: Canvas, x: float, foot: float, size: float, colour: Colour) -> None:
    """A cat that sits with its back to us, its tail curled to the right."""
    shapes = [placed(shape, x, foot, size) for shape in (CAT_BODY, CAT_EAR, [(-a, b) for a, b in CAT_EAR])]
    shapes.append(oval(x, foot - size * 0.12, size * 0.31, size * 0.14))
    shapes.append(oval(x, foot - size * 0.76, size * 0.19, size * 0.165))
    for i in range(31):
        t = i / 30
        right, up = 0.12 + 0.5 * t - 0.12 * t**6, 0.07 - 0.06 * sin(t * pi) + 0.26 * t**3
        shapes.append(oval(x + size * right, foot - size * up, size * (0.055 - 0.02 * t)))
    canvas.paint(shapes, colour)


CAT_EAR = [(0.02, 0.88), (0.15, 1.03), (0.19, 0.78)]
CAT_HALF = [(0.3, 0.1), (0.29, 0.22), (0.24, 0.4), (0.16, 0.56), (0.11, 0.68)]
CAT_BODY = [*CAT_HALF, *((-right, up) for right, up in reversed(CAT_HALF))]
