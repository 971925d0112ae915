"""A price taken apart into single numbers: for files that people edit, and for telling two prices apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from imagegate.catalogue.terms import MAX_TOKENS, Cell, PerInput, PerMegapixel, PerToken, Terms
from imagegate.domain import Size, UsageRates

IMAGE, BOUND, ENDED = "image", "output_bound", "ended"
MEGAPIXEL_ITEMS = ("first_megapixel", "extra_megapixel", "minimum", "round_up_megapixels")
USAGE_ITEMS = ("text_in", "image_in", "output", "prompt_bound", "input_image_bound")
INPUT_ITEMS = ("input_image", "input_megapixel")
PARTIAL = "partial_image"
ITEMS = (IMAGE, *INPUT_ITEMS, PARTIAL, *MEGAPIXEL_ITEMS, *USAGE_ITEMS, BOUND, ENDED)
"""`text_in`, `image_in` and `output` are tokens for a million of the provider's; bounds count the provider's own."""


@dataclass(frozen=True, slots=True)
class Item:
    """One number of a model's price. tokens None: only where the item is `ended`. line: where a file says it."""

    model: str
    item: str
    size: Size | None = None
    quality: str | None = None
    tokens: int | None = None
    line: int = 0

    @property
    def place(self) -> tuple[str, Size | None, str | None]:
        return self.item, self.size, self.quality


@dataclass(frozen=True, slots=True)
class Change:
    """One number that differs; None: it is not there."""

    model: str
    item: str
    size: Size | None
    quality: str | None
    old_tokens: int | None
    new_tokens: int | None

    @property
    def percent(self) -> str | None:
        """`+12.5`; None where there is nothing to compare."""
        if not self.old_tokens or self.new_tokens is None:
            return None
        tenths = round(Fraction((self.new_tokens - self.old_tokens) * 1000, self.old_tokens))
        return f"{'-' if tenths < 0 else '+'}{abs(tenths) // 10}.{abs(tenths) % 10}"


def take_apart(model: str, terms: Terms | None) -> Iterator[Item]:
    """Every number of a price, in one order."""
    if terms is None:
        yield Item(model, ENDED)
        return
    for (size, quality), tokens in terms.cells.items():
        yield Item(model, IMAGE, size, quality, tokens)
    if inputs := terms.per_input:
        numbers2 = (inputs.image_tokens, inputs.megapixel_tokens)
        yield from (Item(model, item, tokens=n) for item, n in zip(INPUT_ITEMS, numbers2, strict=True) if n)
    if terms.per_partial is not None:
        yield Item(model, PARTIAL, tokens=terms.per_partial)
    if rule := terms.per_megapixel:
        numbers = (rule.first_tokens, rule.extra_tokens, rule.minimum_tokens, int(rule.round_up_mp))
        yield from (Item(model, item, tokens=n) for item, n in zip(MEGAPIXEL_ITEMS, numbers, strict=True))
    if usage := terms.per_token:
        rates = usage.rates
        bounds = (usage.prompt_bound, usage.input_image_bound)
        numbers5 = (rates.text_in, rates.image_in, rates.output, *bounds)
        yield from (Item(model, item, tokens=n) for item, n in zip(USAGE_ITEMS, numbers5, strict=True))
        for (size, quality), tokens in usage.bounds.items():
            yield Item(model, BOUND, size, quality, tokens)


def put_together(items: Sequence[Item]) -> Terms | None:
    """The price of one model from its numbers. Raises ValueError when they do not make one."""
    said: dict[tuple[str, Size | None, str | None], int | None] = {}
    for item in items:
        if item.place in said:
            raise ValueError(f"says {item.item} twice for the same size and quality")
        said[item.place] = item.tokens
    kinds = {item.item for item in items}
    if ENDED in kinds:
        if len(items) > 1:
            raise ValueError("cannot both have ended and have a price")
        return None
    number = {item.item: item.tokens or 0 for item in items}
    cells: dict[Cell, int] = {(i.size, i.quality): i.tokens or 0 for i in items if i.item == IMAGE}
    partial = number.get(PARTIAL)
    if kinds & {*USAGE_ITEMS, BOUND}:
        return replace(by_usage(items, kinds, number), per_partial=partial)
    image, megapixel = (number.get(item, 0) for item in INPUT_ITEMS)
    inputs = PerInput(image, megapixel) if image or megapixel else None
    if not kinds & set(MEGAPIXEL_ITEMS):
        return Terms(cells, per_input=inputs, per_partial=partial)
    if missing := {"first_megapixel", "extra_megapixel"} - kinds:
        raise ValueError(f"has a price by the megapixel without {', '.join(sorted(missing))}")
    if number.get("round_up_megapixels", 0) > 1:
        raise ValueError("has round_up_megapixels that is neither 0 nor 1")
    first, extra, minimum, round_up = (number.get(item, 0) for item in MEGAPIXEL_ITEMS)
    rule = PerMegapixel(first, extra, bool(round_up), minimum)
    return Terms(cells, rule, "megapixel", per_input=inputs, per_partial=partial)


def by_usage(items: Sequence[Item], kinds: set[str], number: Mapping[str, int]) -> Terms:
    if kinds & {IMAGE, *INPUT_ITEMS, *MEGAPIXEL_ITEMS}:
        raise ValueError("has a price by usage and another one: one of them must go")
    if missing := {"text_in", "image_in", "output", "prompt_bound", BOUND} - kinds:
        raise ValueError(f"has a price by usage without {', '.join(sorted(missing))}")
    bounds: dict[Cell, int] = {(i.size, i.quality): i.tokens or 0 for i in items if i.item == BOUND}
    text_in, image_in, output, prompt, image = (number.get(item, 0) for item in USAGE_ITEMS)
    usage = PerToken(UsageRates(text_in, image_in, output), bounds, prompt, image)
    return Terms({}, None, "token", usage)


def differences(model: str, old: Terms | None, new: Terms | None) -> list[Change]:
    """Every number that differs, in the order of the new price; what it no longer has comes last."""
    before = {i.place: i.tokens for i in take_apart(model, old)} if old else {}
    after = {i.place: i.tokens for i in take_apart(model, new)} if new else {}
    places = [*after, *(place for place in before if place not in after)]
    return [
        Change(model, *place, before.get(place), after.get(place))
        for place in places
        if before.get(place) != after.get(place)
    ]


def check_tokens(tokens: int) -> int:
    """Raises ValueError when it is out of range."""
    if not 0 <= tokens <= MAX_TOKENS:
        raise ValueError(f"has a number outside 0 to {MAX_TOKENS}")
    return tokens
