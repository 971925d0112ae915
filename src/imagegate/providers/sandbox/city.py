"""The city: rows of buildings with windows, sometimes on a river."""

from PIL import ImageDraw

from imagegate.providers.sandbox.canvas import BLACK, WHITE, Canvas, Colour, Polygon, block, lens, lit, mix
from imagegate.providers.sandbox.landscapes import at_depth, place_sun
from imagegate.providers.sandbox.moods import Mood, Theme


def city(canvas: Canvas, theme: Theme) -> None:
    mood, h, u, rng = theme.mood, canvas.height, canvas.unit, canvas.rng
    place_sun(canvas, mood, 0.18, 0.42)
    quay = int(h * 0.82) if rng.random() < 0.6 else h
    street = min(quay, int(h * 0.94))
    for tall, near, wide in ((0.5, 0.22, 0.075), (0.42, 0.5, 0.1), (0.3, 0.82, 0.13)):
        skyline(canvas, mood, street, u * tall, near, u * wide)
    if quay < h:
        canvas.mirror(quay, lit((30, 60, 100), mood.light), 0.3)
        strokes = [
            lens(rng.random() * canvas.width, quay + (h - quay) * rng.random(), u * 0.12, u * 0.004)
            for _ in range(50)
        ]
        canvas.paint(strokes, mix(mood.sky[2], WHITE, 0.2), opacity=0.22)
    else:
        canvas.paint(
            [block(0, street - 1, canvas.width, h - street + 1)], at_depth(mood, (44, 46, 60), 1.0), BLACK
        )


def skyline(canvas: Canvas, mood: Mood, street: int, tall: float, near: float, wide: float) -> None:
    """One row of buildings, with its windows."""
    rng, x = canvas.rng, -wide * canvas.rng.random()
    wall = at_depth(mood, (72, 84, 116), near)
    shapes: list[Polygon] = []
    fronts: list[tuple[float, float, float]] = []
    while x < canvas.width:
        width, height = (
            wide * rng.uniform(0.6, 1.25),
            tall * rng.uniform(0.4, 1.0) * (1.35 if rng.random() < 0.15 else 1.0),
        )
        shapes.append(block(x, street - height, width, height))
        crown = rng.random()
        if crown < 0.25:
            shapes.append(block(x + width * 0.2, street - height * 1.08, width * 0.6, height * 0.1))
        elif crown < 0.45:
            shapes.append(
                [
                    (x + width * 0.46, street - height),
                    (x + width * 0.5, street - height * 1.22),
                    (x + width * 0.54, street - height),
                ]
            )
        elif crown < 0.6:
            shapes.append(
                [(x, street - height), (x + width, street - height), (x + width, street - height * 1.12)]
            )
        fronts.append((x, street - height, width))
        x += width * rng.uniform(1.0, 1.12)
    canvas.paint(shapes, mix(wall, BLACK, 0.1), mix(wall, mood.haze, 0.5 - 0.4 * near))
    windows(canvas, mood, wall, fronts, street, near)


def windows(
    canvas: Canvas,
    mood: Mood,
    wall: Colour,
    fronts: list[tuple[float, float, float]],
    street: int,
    near: float,
) -> None:
    pen, rng = ImageDraw.Draw(canvas.image), canvas.rng
    late = mood.dark or mood.name in ("dusk", "sunset")
    pane = max(2, int(canvas.unit * (0.004 + 0.005 * near)))
    glass = [
        mix(wall, colour, 0.25 + 0.65 * near)
        for colour in ((255, 206, 112), (255, 232, 176), (255, 176, 90), (170, 220, 255))
    ]
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
