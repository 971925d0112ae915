"""The sea: glints and swells, boats, a beach, a lighthouse."""

from imagegate.providers.sandbox.canvas import (
    BLACK,
    WHITE,
    Canvas,
    block,
    ground,
    lens,
    lit,
    mix,
    placed,
    swell,
)
from imagegate.providers.sandbox.landscapes import at_depth, peaks
from imagegate.providers.sandbox.moods import Mood, Theme
from imagegate.providers.sandbox.things import LAMP, birds, boat, heavens


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
        boat(
            canvas,
            canvas.width * rng.uniform(0.2, 0.45),
            h * 0.74,
            u * 0.2,
            mix(WHITE, mood.haze, 0.25),
            hull,
        )
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
        canvas.paint([placed(BEAM, x, foot - tall * 0.93, canvas.width)], LAMP, opacity=0.2)
        canvas.glow(x, foot - tall * 0.93, tall * 0.5, LAMP, 0.8)
    white, red = lit((250, 246, 240), mood.light), lit((206, 56, 52), mood.light)
    for i in range(5):
        low, high, wide, thin = 0.17 * i, 0.17 * (i + 1), 0.13 - 0.014 * i, 0.116 - 0.014 * i
        storey = [(-wide, low), (-thin, high), (thin, high), (wide, low)]
        canvas.paint([placed(storey, x, foot, tall)], red if i % 2 else white)
    canvas.paint([placed(GALLERY, x, foot, tall)], mix(red, BLACK, 0.6))
    canvas.paint([placed(LANTERN, x, foot, tall)], LAMP)
    canvas.paint([placed(ROOF, x, foot, tall)], red)
    stone = at_depth(mood, (70, 66, 76), 0.9)
    canvas.paint([placed(ROCK, x, foot, tall)], stone, mix(stone, BLACK, 0.4))


BEAM = [(0, 0), (-1, 0.26), (-1, 0.1)]
GALLERY = block(-0.085, 0.845, 0.17, 0.025)
LANTERN = block(-0.045, 0.87, 0.09, 0.1)
ROOF = [(-0.07, 0.96), (0, 1.06), (0.07, 0.96)]
ROCK = [(-0.7, -0.22), (-0.4, -0.02), (-0.1, 0.03), (0.25, 0), (0.5, -0.06), (0.9, -0.22)]
