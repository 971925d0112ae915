"""A price as it is written: prices by size and quality, a rule by the megapixel, or rates for usage."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from imagegate.domain import Inputs, Size, UsageRates

MEGAPIXEL = 1_048_576
MAX_TOKENS = 10**12
Cell = tuple[Size | None, str | None]
"""A size at a quality; None = any."""


@dataclass(frozen=True, slots=True)
class PerMegapixel:
    """The first megapixel, in full or in part, and each further one. `round_up_mp`: a begun one counts."""

    first_tokens: int
    extra_tokens: int
    round_up_mp: bool = False
    minimum_tokens: int = 0

    def tokens_for(self, size: Size) -> Fraction:
        megapixels = Fraction(size.area_px, MEGAPIXEL)
        if self.round_up_mp:
            megapixels = Fraction(ceil(megapixels))
        first, extra = min(megapixels, Fraction(1)), max(megapixels - 1, Fraction(0))
        return max(self.first_tokens * first + self.extra_tokens * extra, Fraction(self.minimum_tokens))


@dataclass(frozen=True, slots=True)
class PerInput:
    """For each picture a caller hands in, and for each begun megapixel of it. Added once a generation."""

    image_tokens: int = 0
    megapixel_tokens: int = 0

    def tokens_for(self, inputs: Inputs) -> int:
        return self.image_tokens * inputs.images + self.megapixel_tokens * inputs.megapixels


def count_inputs(sizes: Sequence[Size | None]) -> Inputs:
    """sizes: one a picture; one that is not measured yet (None) counts as one megapixel."""
    return Inputs(len(sizes), sum(ceil(Fraction(size.area_px, MEGAPIXEL)) if size else 1 for size in sizes))


@dataclass(frozen=True, slots=True)
class PerToken:
    """A price by usage. Bounds count the provider's own tokens and make the hold.

    bounds: drawn for one image at most. prompt_bound: read of one prompt at most. input_image_bound: read of one input
    image at most; 0 = input images cannot be held for.
    """

    rates: UsageRates
    bounds: Mapping[Cell, int]
    prompt_bound: int
    input_image_bound: int = 0

    def worst(self, output_bound: int, input_images: int) -> Fraction:
        """The most one image can cost. Every image may take a call of its own, which reads everything again."""
        return self.rates.tokens_for(self.prompt_bound, self.input_image_bound * input_images, output_bound)


@dataclass(frozen=True, slots=True)
class Terms:
    """A price table: tokens for one image. unit: what the price goes by, `image`, `megapixel` or `token`.

    per_input: of pictures handed in; None = they cost nothing extra. Where the price goes by usage it is not looked at.
    per_partial: tokens for a preview of an image that is being made; None = unknown, so that none is asked for. Where
    the price goes by usage it is held, and what is charged is the usage.
    """

    cells: Mapping[Cell, int] = field(default_factory=dict)
    per_megapixel: PerMegapixel | None = None
    unit: str = "image"
    per_token: PerToken | None = None
    per_input: PerInput | None = None
    per_partial: int | None = None

    def to_json(self) -> dict[str, Any]:
        """`per_token` is there only where the price goes by usage, `per_input` only where pictures handed in cost.

        `per_partial` is there only where a preview has a price.
        """
        rule, usage, inputs = self.per_megapixel, self.per_token, self.per_input
        return {
            "unit": self.unit,
            "cells": cells_json(self.cells),
            "per_megapixel": {
                "first_tokens": rule.first_tokens,
                "extra_tokens": rule.extra_tokens,
                "round_up_mp": rule.round_up_mp,
                "minimum_tokens": rule.minimum_tokens,
            }
            if rule
            else None,
            **({"per_token": usage_json(usage)} if usage else {}),
            **({"per_input": asdict(inputs)} if inputs else {}),
            **({} if self.per_partial is None else {"per_partial": self.per_partial}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Terms":
        rule, usage, inputs = (value.get(name) for name in ("per_megapixel", "per_token", "per_input"))
        return cls(
            cells=cells_from(value["cells"]),
            per_megapixel=PerMegapixel(**rule) if rule else None,
            unit=value["unit"],
            per_token=usage_from(usage) if usage else None,
            per_input=PerInput(**inputs) if inputs else None,
            per_partial=value.get("per_partial"),
        )


def cells_json(cells: Mapping[Cell, int]) -> list[dict[str, Any]]:
    return [
        {"size": str(size) if size else None, "quality": quality, "tokens": tokens}
        for (size, quality), tokens in cells.items()
    ]


def cells_from(listed: list[dict[str, Any]]) -> dict[Cell, int]:
    return {(parse_size(c["size"]), c["quality"]): c["tokens"] for c in listed}


def usage_json(usage: PerToken) -> dict[str, Any]:
    return {
        "text_in": usage.rates.text_in,
        "image_in": usage.rates.image_in,
        "output": usage.rates.output,
        "prompt_bound": usage.prompt_bound,
        "input_image_bound": usage.input_image_bound,
        "bounds": cells_json(usage.bounds),
    }


def usage_from(value: Mapping[str, Any]) -> PerToken:
    rates = UsageRates(value["text_in"], value["image_in"], value["output"])
    return PerToken(rates, cells_from(value["bounds"]), value["prompt_bound"], value["input_image_bound"])


def parse_size(text: str | None) -> Size | None:
    if text is None:
        return None
    size = Size.parse(text)
    if size is None:
        raise ValueError(f"{text!r} is not a size")
    return size
