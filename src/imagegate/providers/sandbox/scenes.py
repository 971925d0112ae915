"""All scenes by name."""

from collections.abc import Callable, Mapping

from imagegate.providers.sandbox.canvas import BLACK, Canvas, mix
from imagegate.providers.sandbox.city import city
from imagegate.providers.sandbox.landscapes import at_depth, desert, forest, lake, meadow, mountains, winter
from imagegate.providers.sandbox.moods import Theme
from imagegate.providers.sandbox.sea import sea
from imagegate.providers.sandbox.space import space
from imagegate.providers.sandbox.things import balloons, cat


def paint_scene(canvas: Canvas, theme: Theme) -> None:
    """The theme's scene, and the guests that fit into any."""
    SCENES[theme.scene](canvas, theme)
    if "balloon" in theme.motifs:
        balloons(canvas, theme.mood)
    if "cat" in theme.motifs:
        x, fur = canvas.width * canvas.rng.uniform(0.55, 0.72), at_depth(theme.mood, (40, 34, 44), 1.0)
        cat(canvas, x, canvas.height * 0.93, canvas.unit * 0.26, mix(fur, BLACK, 0.3))


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
