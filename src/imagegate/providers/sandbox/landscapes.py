"""Scenes of the land: mountains, lake, forest, winter, desert, meadow."""

from imagegate.providers.sandbox.canvas import (
    BLACK,
    WHITE,
    Canvas,
    Colour,
    Point,
    Polygon,
    ground,
    height_at,
    lens,
    lit,
    mix,
    oval,
    ridge,
    swell,
)
from imagegate.providers.sandbox.moods import Mood, Theme
from imagegate.providers.sandbox.things import balloons, birds, heavens, house, leafy, pine

SNOW: Colour = (244, 248, 255)
ROCK: Colour = (92, 108, 140)
NEEDLES: Colour = (30, 84, 70)


def at_depth(mood: Mood, material: Colour, near: float) -> Colour:
    """A lit material through the haze: `near` 0 is the horizon, 1 is here."""
    return mix(mood.haze, mix(lit(material, mood.light), BLACK, 0.35 * near * near), 0.2 + 0.8 * near)


def place_sun(canvas: Canvas, mood: Mood, low: float = 0.2, high: float = 0.36) -> tuple[float, float]:
    """Draw the sky with its sun or moon; returns where it stands."""
    x = canvas.width * (
        canvas.rng.uniform(0.24, 0.42) if canvas.rng.random() < 0.5 else canvas.rng.uniform(0.58, 0.76)
    )
    y = canvas.height * canvas.rng.uniform(low, high)
    heavens(canvas, mood, x, y, canvas.unit * canvas.rng.uniform(0.06, 0.09))
    return x, y


def peaks(
    canvas: Canvas, mood: Mood, base: float, swing: float, near: float, snow: float, foot: float
) -> None:
    """One range: its rock fades into mist at `foot`, its shaded flanks, its snow (share of the swing)."""
    line = ridge(canvas, base, swing, 0.52)
    rock = at_depth(mood, ROCK, near)
    canvas.paint([ground(canvas, line, foot)], rock, mix(rock, mood.haze, 0.75))
    top = min(y for _, y in line)
    if snow:
        edge = top + (base + swing * 0.4 - top) * snow
        rough = [canvas.rng.uniform(0.2, 0.62) for _ in line]
        lower = [(x, y + max(0.0, edge - y) * r) for (x, y), r in zip(line, rough, strict=True)]
        cap = mix(mood.haze, lit(SNOW, mix(mood.light, WHITE, 0.25)), 0.3 + 0.6 * near)
        canvas.paint([[*line, *reversed(lower)]], cap)
    canvas.paint(flanks(canvas, line, swing), mix(rock, BLACK, 0.5), mix(rock, mood.haze, 0.4), opacity=0.3)


def flanks(canvas: Canvas, line: list[Point], swing: float) -> list[list[Point]]:
    """The side of every summit that lies away from the light: from its top to the next valley."""
    found, reach = [], 12
    for i in range(reach, len(line) - reach):
        if line[i][1] != min(y for _, y in line[i - reach : i + reach]):
            continue
        j = i
        while j + 8 < len(line) and max(y for _, y in line[j : j + 9]) > line[j][1]:
            j += 1
        drop = swing * 0.5 + line[j][1] - line[i][1]
        spine = [
            (line[i][0] + canvas.rng.uniform(-0.2, 0.14) * drop * k / 5, line[i][1] + drop * k / 5)
            for k in (5, 4, 3, 2, 1)
        ]
        found.append([*line[i : j + 1], *spine])
    return found


def treeline(canvas: Canvas, line: Polygon, tall: float, spacing: float) -> list[Polygon]:
    """Pines along a skyline, and the ground they stand on."""
    rng, trees = canvas.rng, list[Polygon]()
    x = -spacing
    while x < canvas.width + spacing:
        height = tall * rng.uniform(0.55, 1.1)
        trees.append(pine(x, height_at(line, x) + tall * 0.08, height))
        x += spacing * rng.uniform(0.5, 1.3)
    return [ground(canvas, line), *trees]


def mountains(canvas: Canvas, theme: Theme) -> None:
    mood, h, u = theme.mood, canvas.height, canvas.unit
    place_sun(canvas, mood)
    snow = canvas.rng.choice((0.0, 0.4, 0.6))
    for base, swing, near in ((0.47, 0.4, 0.16), (0.58, 0.44, 0.4), (0.72, 0.26, 0.62), (0.82, 0.16, 0.76)):
        peaks(canvas, mood, h * base, u * swing, near, snow if near < 0.5 else 0.0, h * (base + 0.4))
    if "bird" in theme.motifs or canvas.rng.random() < 0.5:
        birds(canvas, mix(mood.haze, BLACK, 0.6))
    for base, near, tall in ((0.84, 0.84, 0.09), (0.93, 1.0, 0.15)):
        tone = at_depth(mood, NEEDLES, near)
        trees = treeline(canvas, ridge(canvas, h * base, u * 0.1, 0.4, 6), u * tall, u * tall * 0.34)
        canvas.paint(trees, tone, mix(tone, BLACK, 0.4))


def lake(canvas: Canvas, theme: Theme) -> None:
    mood, h, u = theme.mood, canvas.height, canvas.unit
    place_sun(canvas, mood, 0.14, 0.26)
    shore = int(h * 0.6)
    for base, swing, near in ((0.42, 0.26, 0.15), (0.5, 0.2, 0.42)):
        peaks(canvas, mood, h * base, u * swing, near, 0.45 if near < 0.3 else 0.0, h * 0.62)
    tone = at_depth(mood, NEEDLES, 0.72)
    canvas.paint(
        treeline(canvas, swell(canvas, h * 0.575, u * 0.018, 1.3), u * 0.07, u * 0.022),
        tone,
        mix(tone, BLACK, 0.2),
    )
    canvas.mirror(shore, mix(mood.sky[1], lit((40, 90, 120), mood.light), 0.5), 0.34)
    ripples = [
        lens(
            canvas.rng.random() * canvas.width,
            h * (0.61 + 0.37 * t * t),
            u * (0.05 + 0.26 * t),
            u * (0.001 + 0.004 * t),
        )
        for t in (canvas.rng.random() for _ in range(46))
    ]
    canvas.paint(ripples, mix(mood.sky[2], WHITE, 0.3), opacity=0.25)
    bank = ridge(canvas, h * 0.97, u * 0.05, 0.5, 6)
    corner = [(x, y + u * 0.2 * (1 - abs(2 * x / canvas.width - 1)) ** 0.5) for x, y in bank]
    canvas.paint(treeline(canvas, corner, u * 0.24, u * 0.075), *([at_depth(mood, NEEDLES, 1.0)] * 2))


def forest(canvas: Canvas, theme: Theme) -> None:
    mood, h, u = theme.mood, canvas.height, canvas.unit
    x, y = place_sun(canvas, mood, 0.26, 0.4)
    for base, tall, near in ((0.6, 0.16, 0.1), (0.68, 0.24, 0.3), (0.77, 0.34, 0.52), (0.88, 0.44, 0.76)):
        tone = at_depth(mood, NEEDLES, near)
        trees = treeline(canvas, swell(canvas, h * base, u * 0.03, 0.9), u * tall, u * tall * 0.3)
        canvas.paint(trees, mix(tone, mood.haze, 0.05), mix(tone, mood.haze, 0.5 - 0.3 * near))
        if near == 0.3:
            canvas.glow(x, y, u * 0.5, mood.sun, 0.15 if mood.dark else 0.4)
    if "bird" in theme.motifs or canvas.rng.random() < 0.5:
        birds(canvas, mix(mood.haze, BLACK, 0.65))
    tone = at_depth(mood, mix(NEEDLES, BLACK, 0.3), 1.0)
    frame = [
        pine(canvas.width * at, h * 1.08, h * tall)
        for at, tall in ((-0.02, 0.9), (0.11, 0.62), (0.92, 0.7), (1.04, 0.98))
    ]
    canvas.paint(
        [ground(canvas, swell(canvas, h * 0.96, u * 0.02, 1.1)), *frame], tone, mix(tone, BLACK, 0.4)
    )


def winter(canvas: Canvas, theme: Theme) -> None:
    mood, h, u, rng = theme.mood, canvas.height, canvas.unit, canvas.rng
    place_sun(canvas, mood, 0.16, 0.3)
    peaks(canvas, mood, h * 0.5, u * 0.3, 0.2, 0.75, h * 0.75)
    drift = mix(mood.light, WHITE, 0.5 if mood.dark else 0.62)
    for base, near in ((0.62, 0.3), (0.72, 0.55), (0.85, 0.85)):
        line = swell(canvas, h * base, u * 0.045, rng.uniform(0.6, 1.0))
        tone = mix(mood.haze, lit(SNOW, drift), 0.25 + 0.7 * near)
        trees = [pine(x, height_at(line, x) + u * 0.012, u * (0.08 + 0.2 * near) * rng.uniform(0.6, 1.1))
                 for x in (rng.random() * canvas.width for _ in range(int(26 - 18 * near)))]  # fmt: skip
        green = at_depth(mood, NEEDLES, near)
        canvas.paint(trees, mix(green, SNOW, 0.45), green)
        canvas.paint([ground(canvas, line)], tone, mix(tone, lit((150, 178, 220), mood.light), 0.6))
    line = swell(canvas, h * 0.86, u * 0.02, 0.5)
    x = canvas.width * rng.uniform(0.25, 0.6)
    house(canvas, mood, x, height_at(line, x) + u * 0.02, u * 0.14)
    flakes = [
        oval(rng.random() * canvas.width, rng.random() * h, u * rng.uniform(0.0012, 0.0042))
        for _ in range(150)
    ]
    canvas.paint(flakes, WHITE, opacity=0.8)


def desert(canvas: Canvas, theme: Theme) -> None:
    mood, h, u, rng = theme.mood, canvas.height, canvas.unit, canvas.rng
    sand: Colour = (246, 178, 104)
    place_sun(canvas, mood, 0.22, 0.38)
    if rng.random() < 0.5 or "pyramid" in theme.motifs:
        for at, size, near in ((rng.uniform(0.5, 0.8), 0.2, 0.3), (rng.uniform(0.2, 0.5), 0.28, 0.42)):
            x, tone = canvas.width * at, at_depth(mood, sand, near)
            apex, right, left = (x, h * 0.61 - u * size), (x + u * size, h * 0.62), (x - u * size, h * 0.62)
            canvas.paint([[left, apex, right]], tone, mix(tone, mood.haze, 0.3))
            canvas.paint([[apex, right, (x + u * size * 0.25, h * 0.62)]], mix(tone, BLACK, 0.28))
    else:
        peaks(canvas, mood, h * 0.54, u * 0.1, 0.35, 0.0, h * 0.64)
    for base, swing, near in ((0.61, 0.02, 0.4), (0.68, 0.05, 0.6), (0.78, 0.07, 0.8), (0.92, 0.08, 1.0)):
        line = swell(canvas, h * base, u * swing, rng.uniform(0.5, 0.9))
        tone = at_depth(mood, sand, near)
        canvas.paint([ground(canvas, line)], mix(tone, WHITE, 0.12), mix(tone, BLACK, 0.2))
        shade = [(x, y + max(0.0, (y - h * base + u * swing * 0.5)) * 1.5) for x, y in line]
        canvas.paint([[*line, *reversed(shade)]], mix(tone, lit((120, 60, 70), mood.light), 0.6))


def meadow(canvas: Canvas, theme: Theme) -> None:
    mood, h, u, rng = theme.mood, canvas.height, canvas.unit, canvas.rng
    place_sun(canvas, mood, 0.18, 0.34)
    line: list[Point] = []
    for base, near in ((0.58, 0.12), (0.66, 0.36), (0.74, 0.6), (0.86, 0.9)):
        line = swell(canvas, h * base, u * 0.06, rng.uniform(0.5, 1.1))
        tone = at_depth(mood, rng.choice(((120, 186, 74), (160, 196, 80), (84, 164, 88))), near)
        if 0.3 < near < 0.8:
            for x in (rng.random() * canvas.width for _ in range(7)):
                leaf = at_depth(mood, (60, 140, 70), near + 0.1)
                leafy(
                    canvas,
                    x,
                    height_at(line, x) + u * 0.01,
                    u * (0.03 + near * 0.14),
                    leaf,
                    mix(leaf, BLACK, 0.6),
                )
        canvas.paint([ground(canvas, line)], mix(tone, WHITE, 0.1), mix(tone, BLACK, 0.25))
    if "house" in theme.motifs or rng.random() < 0.4:
        x = canvas.width * rng.uniform(0.15, 0.3)
        house(canvas, mood, x, height_at(line, x) + u * 0.03, u * 0.14)
    flowers(canvas, mood, line)
    if not theme.motifs and rng.random() < 0.4:
        balloons(canvas, mood)


def flowers(canvas: Canvas, mood: Mood, line: Polygon) -> None:
    rng, u = canvas.rng, canvas.unit
    for colour in ((250, 240, 240), (240, 90, 100), (250, 200, 60), (170, 110, 220)):
        blooms = []
        for _ in range(44):
            x, down = rng.random() * canvas.width, rng.random()
            y = height_at(line, x) + u * 0.02 + (canvas.height - height_at(line, x)) * down
            blooms.append(oval(x, y, u * (0.002 + 0.005 * down)))
        canvas.paint(blooms, lit(colour, mix(mood.light, WHITE, 0.25)))
