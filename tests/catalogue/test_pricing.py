"""Price arithmetic: exact, and never below what is owed."""

import json
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.catalogue.pricing import (
    MEGAPIXEL,
    PerMegapixel,
    Terms,
    quote,
    tokens_from_usd,
    with_price,
)
from imagegate.domain import Quote, Size
from imagegate.errors import InvalidRequest, OperatorError, Unpriced
from imagegate.settings import Settings

SMALL, SQUARE, TALL, HUGE = Size(512, 512), Size(1024, 1024), Size(1024, 1792), Size(4096, 4096)

sizes = st.builds(Size, st.integers(1, 8192), st.integers(1, 8192))
qualities = st.sampled_from([None, "low", "high"])
tokens = st.integers(0, 10**9)
rules = st.builds(PerMegapixel, tokens, tokens, st.booleans(), tokens)
tables = st.builds(
    Terms,
    st.dictionaries(st.tuples(st.none() | sizes, qualities), tokens, max_size=6),
    st.none() | rules,
    st.sampled_from(["image", "megapixel"]),
    per_partial=st.none() | tokens,
)


def ask(terms: Terms, size: Size, quality: str | None = None, n: int = 1) -> Quote:
    return quote(terms, model="acme/badger", price_version=7, size=size, quality=quality, n=n)


@given(
    st.decimals(0, 1000, places=6, allow_nan=False),
    st.decimals("0.000001", 10_000, places=6, allow_nan=False),
    st.decimals(0, 1000, places=3, allow_nan=False),
    st.integers(1, 10**7),
)
def test_usd_become_the_next_whole_token(usd: Decimal, rate: Decimal, markup: Decimal, unit: int) -> None:
    settings = Settings(
        _env_file=None,
        currency="EUR",
        currency_per_usd=rate,
        markup_percent=markup,
        tokens_per_currency_unit=unit,
    )
    exact = Fraction(usd) * Fraction(rate) * (100 + Fraction(markup)) / 100 * unit

    assert 0 <= tokens_from_usd(usd, settings) - exact < 1


@given(tables)
def test_terms_survive_json(terms: Terms) -> None:
    assert Terms.from_json(json.loads(json.dumps(terms.to_json()))) == terms


@given(tables, sizes, qualities)
def test_only_a_size_above_the_largest_or_an_unknown_quality_is_refused(
    terms: Terms, size: Size, quality: str | None
) -> None:
    fitting = [s for s, q in terms.cells if q in (None, quality)]
    enough = terms.per_megapixel or any(s is None or s.area_px >= size.area_px for s in fitting)

    if enough:
        quoted = ask(terms, size, quality)
        assert quoted.hold_tokens == ceil(quoted.image_tokens) >= 0
    else:
        with pytest.raises(InvalidRequest if fitting else Unpriced):
            ask(terms, size, quality)


@given(rules, sizes, st.integers(0, 4096))
def test_a_larger_picture_never_costs_less_by_the_megapixel(
    rule: PerMegapixel, size: Size, more: int
) -> None:
    larger = Size(size.width_px + more, size.height_px + more)

    assert rule.tokens_for(larger) >= rule.tokens_for(size) >= rule.minimum_tokens


@given(rules, sizes, st.integers(1, 10))
def test_many_images_are_rounded_up_once(rule: PerMegapixel, size: Size, n: int) -> None:
    quoted = ask(Terms({}, rule), size, n=n)

    assert 0 <= quoted.hold_tokens - n * rule.tokens_for(size) < 1


@given(st.integers(1, 10), st.integers(1, 10))
def test_a_rounded_up_megapixel_is_the_published_formula(width: int, height: int) -> None:
    size = Size(width * 333, height * 333)
    megapixels = -(-size.area_px // MEGAPIXEL)

    assert PerMegapixel(30_000, 15_000, True).tokens_for(size) == 30_000 + 15_000 * (megapixels - 1)


def test_the_nearest_cell_counts_first() -> None:
    terms = Terms({(SQUARE, "high"): 4, (SQUARE, None): 3, (None, "high"): 2, (None, None): 1})

    asked = [ask(terms, size, quality) for size in (SQUARE, TALL) for quality in ("high", "low")]
    assert [q.image_tokens for q in asked] == [4, 3, 2, 1]


def test_an_unlisted_size_costs_the_smallest_listed_one_of_at_least_its_area() -> None:
    terms = Terms({(SMALL, "low"): 10, (SQUARE, "low"): 30, (TALL, "low"): 50, (TALL, "high"): 20})

    assert ask(terms, Size(512, 513), "low").image_tokens == 30
    assert ask(terms, Size(10, 10), "low").image_tokens == 10
    assert ask(terms, Size(2048, 512), "low").image_tokens == 30
    assert ask(terms, SMALL, "high").image_tokens == 20


def test_of_two_listed_sizes_of_one_area_the_dearer_counts() -> None:
    terms = Terms({(Size(1024, 1536), None): 41, (Size(1536, 1024), None): 42})

    assert ask(terms, SQUARE).image_tokens == 42


def test_a_size_above_the_largest_listed_is_refused_and_the_message_names_that() -> None:
    terms = Terms({(SMALL, None): 1, (TALL, "low"): 2, (HUGE, "high"): 3})

    with pytest.raises(InvalidRequest, match="priced up to 1024x1792") as raised:
        ask(terms, Size(2048, 2048), "low")

    assert (raised.value.code, raised.value.param) == ("invalid_value", "size")


def test_a_megapixel_rule_prices_what_is_not_listed() -> None:
    terms = Terms({(SQUARE, None): 1}, PerMegapixel(100, 10, True))

    assert ask(terms, SQUARE).image_tokens == 1
    assert ask(terms, Size(1024, 1025)).image_tokens == 110


@pytest.mark.parametrize("quality", ["medium", None])
def test_a_quality_without_a_price_is_refused_and_not_guessed(quality: str | None) -> None:
    with pytest.raises(Unpriced):
        ask(Terms({(SQUARE, "low"): 1, (SQUARE, "high"): 9}), SQUARE, quality)


def test_a_price_of_nothing_is_a_price() -> None:
    assert ask(Terms({(None, None): 0}), SQUARE).hold_tokens == 0


@given(tables, st.none() | sizes, qualities, tokens, sizes)
def test_a_price_that_was_set_is_the_price_that_is_asked(
    terms: Terms, size: Size | None, quality: str | None, amount: int, any_size: Size
) -> None:
    changed = with_price(terms, size, quality, amount)

    if size is not None:
        assert ask(changed, size, quality).image_tokens == amount
    elif all(s != any_size or q is not None for s, q in changed.cells):
        assert ask(changed, any_size, quality).image_tokens == amount


def test_one_price_for_everything_replaces_the_table() -> None:
    terms = Terms({(SQUARE, "low"): 1, (None, "high"): 2}, PerMegapixel(1, 1), "megapixel")

    assert with_price(terms, None, None, 9) == Terms({(None, None): 9})


def test_setting_one_cell_leaves_the_others_and_the_original_alone() -> None:
    terms = Terms({(SQUARE, "low"): 1, (SQUARE, "high"): 2}, PerMegapixel(5, 5), "megapixel")

    changed = with_price(terms, SQUARE, "high", 9)

    assert changed == Terms({(SQUARE, "low"): 1, (SQUARE, "high"): 9}, PerMegapixel(5, 5), "megapixel")
    assert terms.cells[(SQUARE, "high")] == 2


def test_a_price_for_a_quality_alone_holds_at_every_size() -> None:
    terms = Terms({(SQUARE, "high"): 1, (TALL, "high"): 2, (TALL, "low"): 3})

    assert with_price(terms, None, "high", 9).cells == {(TALL, "low"): 3, (None, "high"): 9}


@pytest.mark.parametrize("amount", [-1, 10**12 + 1, True])
def test_a_price_out_of_range_is_refused(amount: int) -> None:
    with pytest.raises(OperatorError):
        with_price(None, None, None, amount)
