from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.routing.policy import EXPLORE_EVERY, POLICIES, Choice, choose, order


def never() -> float:
    raise AssertionError("nothing is left to chance here")


def test_the_catalogue_order_stays_as_it_is() -> None:
    choices = [Choice(cost=Decimal(3)), Choice(cost=Decimal(1)), Choice(cost=Decimal(2))]

    assert order(choices, "catalogue", draw=never) == [0, 1, 2]


def test_the_cheapest_goes_first_and_what_nobody_knows_the_cost_of_last() -> None:
    choices = [
        Choice(),
        Choice(cost=Decimal("0.04")),
        Choice(cost=Decimal("0.004")),
        Choice(cost=Decimal("0.04")),
    ]

    assert order(choices, "cheapest", draw=never) == [2, 1, 3, 0]


def test_the_best_by_rank_goes_first_then_the_listed_order() -> None:
    choices = [Choice(), Choice(rank=7), Choice(), Choice(rank=2)]

    assert order(choices, "best", draw=never) == [3, 1, 0, 2]


def test_the_fastest_goes_first_and_now_and_then_another_is_measured() -> None:
    choices = [Choice(p50_s=9.0), Choice(), Choice(p50_s=2.0)]

    firsts = [order(choices, "fastest", draw=never, turn=turn)[0] for turn in range(3 * EXPLORE_EVERY)]

    assert order(choices, "fastest", draw=never) == [2, 0, 1]
    others = [(turn, first) for turn, first in enumerate(firsts) if first != 2]
    assert others == [(EXPLORE_EVERY - 1, 0), (2 * EXPLORE_EVERY - 1, 1), (3 * EXPLORE_EVERY - 1, 0)]


def test_nobody_is_measured_who_rests_or_ignores_more() -> None:
    choices = [Choice(p50_s=9.0, resting=True), Choice(ignored=1), Choice(p50_s=2.0)]

    for turn in range(3 * EXPLORE_EVERY):
        assert order(choices, "fastest", draw=never, turn=turn) == [2, 1, 0]


def test_weights_are_shares() -> None:
    drawn = spread(3000)
    choices = [Choice(weight=3), Choice(weight=1), Choice(weight=0)]

    firsts = [order(choices, "balanced", draw=lambda: next(drawn))[0] for _ in range(2000)]

    assert firsts.count(2) == 0
    assert 0.70 < firsts.count(0) / len(firsts) < 0.80
    last = order(choices, "balanced", draw=lambda: next(drawn))[2]
    assert last == 2


def spread(seed: int) -> Iterator[float]:
    """Numbers from 0 up to 1 without chance: a linear congruential generator."""
    while True:
        seed = (1103515245 * seed + 12345) % 2**31
        yield seed / 2**31


@pytest.mark.parametrize("policy", POLICIES)
def test_one_who_obeys_goes_before_one_who_ignores_and_both_before_one_who_rests(policy: str) -> None:
    choices = [
        Choice(cost=1, rank=1, weight=100, p50_s=0.1, resting=True),
        Choice(cost=2, rank=2, weight=90, p50_s=0.2, ignored=1),
        Choice(cost=9, rank=9, weight=1, p50_s=9.0),
    ]

    assert order(choices, policy, draw=lambda: 0.5) == [2, 1, 0]


CHOICES = st.lists(
    st.builds(
        Choice,
        cost=st.none() | st.integers(0, 5),
        rank=st.none() | st.integers(1, 5),
        weight=st.none() | st.integers(0, 10_000),
        p50_s=st.none() | st.floats(0, 100),
        ignored=st.integers(0, 2),
        resting=st.booleans(),
    ),
    max_size=6,
)


@given(CHOICES, st.sampled_from(POLICIES), st.floats(0, 1, exclude_max=True), st.integers(0, 1000))
def test_everybody_is_asked_once(choices: list[Choice], policy: str, drawn: float, turn: int) -> None:
    places = order(choices, policy, draw=lambda: drawn, turn=turn)

    assert sorted(places) == list(range(len(choices)))
    groups = [(choices[place].resting, choices[place].ignored) for place in places]
    assert groups == sorted(groups)


def test_a_model_is_chosen_by_the_same_rules() -> None:
    models = [Choice(cost=40_000, rank=2), Choice(cost=5_000), Choice(cost=90_000, rank=1, resting=True)]

    chosen = {
        policy: choose(models, policy, draw=lambda: 0.5) for policy in ("catalogue", "cheapest", "best")
    }

    assert chosen == {"catalogue": 0, "cheapest": 1, "best": 0}
    with pytest.raises(ValueError, match="no model"):
        choose([], "best", draw=never)
