"""Which size an offering is asked for, purely: shape first, then area, never smaller than asked where it can do more.

Some providers take pixels, some a ratio, some a ratio and a tier. What they then draw is measured from the bytes; the
size that goes with a ratio here is what is expected of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, log, sqrt
from typing import Any

from imagegate.domain import GenerationRequest, Model, Size, SizeRule

STEP_PX = 16
USUAL_AREA_PX = 1024 * 1024
SAME_SHAPE = 0.03
"""Of logarithms of ratios: rounding to 16 pixels is no other shape."""


@dataclass(frozen=True, slots=True)
class Native:
    """size: in pixels, expected where `aspect` is said. aspect: `16:9`; tier: `2K`, as the rule writes it."""

    size: Size
    aspect: str | None = None
    tier: str | None = None

    def is_shaped(self, size: Size) -> bool:
        return (
            shape_distance(shape_of(self.aspect) if self.aspect else ratio(self.size), ratio(size))
            <= SAME_SHAPE
        )

    def is_as_large(self, size: Size) -> bool:
        """Within a fifth: tiers are names of sizes, and providers round them in their own ways."""
        return 0.8 <= self.size.area_px / size.area_px <= 1.25

    @property
    def told(self) -> str:
        return " ".join(part for part in (self.tier, self.aspect) if part) or str(self.size)


def asked_size(request: GenerationRequest, model: Model, tier: str | None) -> Size:
    """The size that is priced and fitted: pixels as they were said, else from ratio and resolution, else the usual.

    Of the sizes that a model lists, one of the asked shape goes before a reckoned one where no resolution is said.
    """
    if request.size is not None:
        return request.size
    resolution = request.resolution or tier
    if request.aspect is None and resolution is None:
        return model.default_size
    shape = shape_of(request.aspect) if request.aspect else ratio(model.default_size)
    area = area_of(resolution) if resolution else model.default_size.area_px
    listed = listed_near(model.sizes, shape, area) if resolution is None else None
    return listed or sized(shape, area)


@lru_cache(maxsize=4096)
def listed_near(sizes: tuple[Size, ...], shape: float, area_px: int) -> Size | None:
    """Of the sizes of this shape the one nearest in area; None where none has it."""
    shaped = [size for size in sizes if shape_distance(ratio(size), shape) <= SAME_SHAPE]
    return min(shaped, key=lambda size: abs(size.area_px - area_px), default=None)


@lru_cache(maxsize=8192)
def native_for(rule: SizeRule, wanted: Size) -> Native:
    """The nearest that the offering draws."""
    if rule.kind == "list_or_aspect" and wanted in rule.sizes:
        return Native(wanted)
    if rule.kind == "aspect_or_free" and _obeys(rule, wanted):
        return Native(wanted)
    if rule.aspects and rule.kind in ("aspect", "aspect_tier", "list_or_aspect"):
        return nearest_aspect(rule, wanted)
    if rule.sizes and rule.kind in ("list", "list_or_aspect"):
        return Native(nearest_of(rule.sizes, wanted))
    return Native(nearest_free(rule, wanted))


def nearest_aspect(rule: SizeRule, wanted: Size) -> Native:
    aspect = min(
        rule.aspects, key=lambda name: (shape_distance(shape_of(name), ratio(wanted)), name != "1:1")
    )
    tiers = sorted((area_of(tier), tier) for tier in rule.tiers)
    tier = next((t for area, t in tiers if area >= wanted.area_px), tiers[-1][1] if tiers else None)
    return Native(sized(shape_of(aspect), area_of(tier) if tier else USUAL_AREA_PX), aspect, tier)


@lru_cache(maxsize=1024)
def shape_of(aspect: str) -> float:
    """`16:9` → 1.78; a side may be a fraction: `9:19.5`."""
    width, _, height = aspect.partition(":")
    return float(width) / float(height)


def area_of(tier: str) -> int:
    """`2K` → 2048²; a number without K, such as `768sq`, is an edge in pixels."""
    edge = float(tier[:-1]) * 1024 if tier[-1] in "kK" else float(tier.removesuffix("sq"))
    return round(edge * edge)


def sized(shape: float, area_px: int) -> Size:
    """A size of this shape and about this area, never a larger one, in steps of 16 pixels."""
    edges = (sqrt(area_px * shape), sqrt(area_px / shape))
    width, height = (max(round(edge / STEP_PX), 1) * STEP_PX for edge in edges)
    while width * height > area_px and max(width, height) > STEP_PX:
        width, height = (width - STEP_PX, height) if width >= height else (width, height - STEP_PX)
    return Size(width, height)


def shape_distance(one: float, other: float) -> float:
    return round(abs(log(one / other)), 2)


def nearest_of(sizes: Iterable[Size], wanted: Size) -> Size:
    def distance(size: Size) -> tuple[float, bool, int]:
        shape = shape_distance(ratio(size), ratio(wanted))
        return shape, size.area_px < wanted.area_px, abs(size.area_px - wanted.area_px)

    return min(sizes, key=distance)


def ratio(size: Size) -> float:
    return size.width_px / size.height_px


def nearest_free(rule: SizeRule, wanted: Size) -> Size:
    """Keep the shape inside the rule's ratio, scale into its area and edges, round to its multiple."""
    if _obeys(rule, wanted):
        return wanted
    shape = ratio(wanted)
    if rule.max_ratio:
        shape = min(max(shape, 1 / rule.max_ratio), rule.max_ratio)
    area = float(max(wanted.area_px, rule.min_pixels))
    area = min(area, float(rule.max_pixels or area))
    width, height = sqrt(area * shape), sqrt(area / shape)
    grow = max(rule.min_edge / min(width, height), 1.0)
    shrink = min(rule.max_edge / (max(width, height) * grow), 1.0)
    up = Size(*(_rounded(edge * grow * shrink, rule, ceil) for edge in (width, height)))
    if _obeys(rule, up):
        return up
    return Size(*(_rounded(edge * grow * shrink, rule, floor) for edge in (width, height)))


def _rounded(edge: float, rule: SizeRule, rounding: Any) -> int:
    step = rule.multiple
    least = ceil(rule.min_edge / step) * step
    most = rule.max_edge // step * step
    return int(min(max(rounding(round(edge / step, 6)) * step, least), most))


def _obeys(rule: SizeRule, size: Size) -> bool:
    edges = (size.width_px, size.height_px)
    return (
        all(edge % rule.multiple == 0 and rule.min_edge <= edge <= rule.max_edge for edge in edges)
        and rule.min_pixels <= size.area_px <= (rule.max_pixels or size.area_px)
        and (not rule.max_ratio or max(edges) <= rule.max_ratio * min(edges))
    )
