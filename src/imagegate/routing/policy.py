"""In which order candidates are asked, and which of several models serves a request. Pure.

What a policy prefers comes last of three: an offering that rests stands behind one that does not, and one that would
ignore a parameter stands behind one that obeys it. Where a policy finds two alike, the order in which they were given
decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import get_args

from imagegate.settings import RoutingPolicy

POLICIES: tuple[RoutingPolicy, ...] = get_args(RoutingPolicy)
EXPLORE_EVERY = 20
"""Under `fastest` every so many requests another than the fastest goes first, so that it is measured again."""
USUAL_WEIGHT = 1

Draw = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Choice:
    """What policies know of a candidate, or of a model among models. None = not known.

    cost: of one image, in whatever is the same for all: USD of a candidate, tokens of a model.
    rank: 1 is the best. weight: its share under `balanced`; 0 = only when nobody else is left.
    p50_s: the usual seconds of a call. ignored: how many of the request's parameters it would ignore.
    """

    cost: Decimal | int | None = None
    rank: int | None = None
    weight: int | None = None
    p50_s: float | None = None
    ignored: int = 0
    resting: bool = False


def order(choices: Sequence[Choice], policy: str, *, draw: Draw, turn: int = 0) -> list[int]:
    """The places of `choices` in the order in which they are to be asked.

    policy: one of POLICIES. draw: from 0 up to 1, by chance. turn: counts the requests, for `fastest`.
    """
    if len(choices) < 2:
        return list(range(len(choices)))
    liked = likes(choices, policy, draw)
    places = sorted(range(len(choices)), key=lambda i: (choices[i].resting, choices[i].ignored, liked[i]))
    if policy == "fastest" and turn % EXPLORE_EVERY == EXPLORE_EVERY - 1:
        return exploring(choices, places, turn // EXPLORE_EVERY)
    return places


def choose(models: Sequence[Choice], policy: str, *, draw: Draw, turn: int = 0) -> int:
    """The place of the model that is to serve a request that names none. Raises ValueError without models."""
    if not models:
        raise ValueError("there is no model to choose from")
    return order(models, policy, draw=draw, turn=turn)[0]


def likes(choices: Sequence[Choice], policy: str, draw: Draw) -> list[float]:
    """One number for each choice; the smallest goes first."""
    match policy:
        case "cheapest":
            return [inf if c.cost is None else float(c.cost) for c in choices]
        case "fastest":
            return [inf if c.p50_s is None else c.p50_s for c in choices]
        case "best":
            return [inf if c.rank is None else float(c.rank) for c in choices]
        case "balanced":
            return [drawn(USUAL_WEIGHT if c.weight is None else c.weight, draw) for c in choices]
        case _:
            return [0.0] * len(choices)


def drawn(weight: int, draw: Draw) -> float:
    """A weighted draw without replacement: the first of an order is each with the chance of its share.

    Efraimidis and Spirakis, «Weighted random sampling with a reservoir», 2006.
    """
    return inf if weight <= 0 else -((1.0 - draw()) ** (1.0 / weight))


def exploring(choices: Sequence[Choice], places: list[int], turn: int) -> list[int]:
    """One of those that are as good as the first but for their speed goes before it; each in its turn."""
    first = choices[places[0]]
    alike = [
        place
        for place in places[1:]
        if (choices[place].resting, choices[place].ignored) == (first.resting, first.ignored)
    ]
    if not alike or first.resting:
        return places
    chosen = sorted(alike)[turn % len(alike)]
    return [chosen, *(place for place in places if place != chosen)]
