"""Which size an offering is asked for, purely: shape first, then area, never smaller than asked where it can do more.

Some providers take pixels, some a ratio, some a ratio and a tier. What they then draw is measured from the bytes; the
size that goes with a ratio here is what is expected of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log, sqrt
from typing import Any

from imagegate.domain import Size, SizeRule

STEP_PX = 16
USUAL_AREA_PX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Native:
    """size: in pixels, expected where `aspect` is said. aspect: `16:9`; tier: `2K`, as the rule writes it."""

    size: Size
    aspect: str | None = None
    tier: str | None = None

    @property
    def told(self) -> str:
        return " ".join(part for part in (self.tier, self.aspect) if part) or str(self.size)


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


def shape_of(aspect: str) -> float:
    """`16:9` → 1.78; a side may be a fraction: `9:19.5`."""
    width, _, height = aspect.partition(":")
    return float(width) / float(height)


def area_of(tier: str) -> int:
    """`2K` → 2048²; a number without K, such as `768sq`, is an edge in pixels."""
    edge = float(tier[:-1]) * 1024 if tier[-1] in "kK" else float(tier.removesuffix("sq"))
    return round(edge * edge)


def sized(shape: float, area_px: int) -> Size:
    """A size of this shape and about this area, in steps of 16 pixels."""
    width, height = sqrt(area_px * shape), sqrt(area_px / shape)
    return Size(*(max(round(edge / STEP_PX), 1) * STEP_PX for edge in (width, height)))


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
