"""Prices by usage: the hold is the most it can cost, the debit what the provider counted. And other currencies."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.catalogue.pricing import explain_conversion, quote, tokens_from_usd, usd_per_token, with_price
from imagegate.catalogue.terms import PerToken, Terms
from imagegate.domain import Inputs, Quote, Size, UsageRates
from imagegate.errors import InvalidRequest, OperatorError, Unpriced
from imagegate.settings import Settings

SQUARE, TALL = Size(1024, 1024), Size(1024, 1536)
RATES = UsageRates(text_in=5_000_000, image_in=8_000_000, output=30_000_000)
BOUNDS = {(SQUARE, "low"): 300, (SQUARE, "high"): 4_160, (TALL, None): 6_240}
counts = st.integers(0, 10**9)


def terms(input_image_bound: int = 0) -> Terms:
    return Terms({}, None, "token", PerToken(RATES, BOUNDS, 1_000, input_image_bound))


def ask(
    size: Size = SQUARE, quality: str = "high", n: int = 1, input_images: int = 0, bound: int = 0
) -> Quote:
    return quote(
        terms(bound),
        model="acme/badger",
        price_version=7,
        size=size,
        quality=quality,
        n=n,
        inputs=Inputs(input_images, input_images),
    )


def usage(text: int, image: int, output: int) -> dict[str, Any]:
    details = {"text_tokens": text, "image_tokens": image}
    return {"input_tokens": text + image, "input_tokens_details": details, "output_tokens": output}


def test_the_hold_is_the_bound_and_every_image_may_read_the_prompt_again() -> None:
    assert ask().hold_tokens == 4_160 * 30 + 1_000 * 5
    assert ask(n=3).hold_tokens == 3 * (4_160 * 30 + 1_000 * 5)
    assert ask(input_images=2, bound=500).hold_tokens == 4_160 * 30 + 1_000 * 5 + 2 * 500 * 8
    assert ask(Size(1024, 1100), "low").hold_tokens == 6_240 * 30 + 1_000 * 5
    assert (ask().unit, ask().rates) == ("token", RATES)


def test_what_no_bound_covers_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        ask(Size(4096, 4096))
    with pytest.raises(Unpriced, match="input images"):
        ask(input_images=1)


def test_the_debit_is_what_the_provider_counted() -> None:
    assert ask().tokens_for_usage(usage(100, 0, 1_756), 1) == 100 * 5 + 1_756 * 30
    assert ask(n=4).tokens_for_usage(usage(100, 40, 5_000), 4) == 100 * 5 + 40 * 8 + 5_000 * 30
    assert ask().tokens_for_usage({"input_tokens": 100, "output_tokens": 10}, 1) == 100 * 5 + 10 * 30
    assert ask().tokens_for_usage(usage(0, 0, 999_999), 1) > ask().hold_tokens


@given(counts, counts, counts)
def test_the_debit_is_rounded_up_once(text: int, image: int, output: int) -> None:
    rates = UsageRates(7, 11, 13)
    quoted = Quote("m", 1, Fraction(5), 3, SQUARE, None, "token", rates)
    exact = Fraction(7 * text + 11 * image + 13 * output, 1_000_000)

    assert 0 <= quoted.tokens_for_usage(usage(text, image, output), 3) - exact < 1


@pytest.mark.parametrize(
    "unreadable",
    [
        None,
        {},
        {"input_tokens": 5},
        {"input_tokens": -1, "output_tokens": 5},
        {"input_tokens": 5, "output_tokens": "5"},
        {"input_tokens": True, "output_tokens": 5},
        {"input_tokens": 5, "output_tokens": 5.5},
        {"input_tokens": 5, "output_tokens": 5, "input_tokens_details": {"image_tokens": 6}},
    ],
)
def test_without_readable_counts_the_quoted_price_counts(unreadable: Any) -> None:
    assert ask(n=2).tokens_for_usage(unreadable, 1) == ask().hold_tokens


def test_no_image_costs_nothing_and_other_prices_know_no_usage() -> None:
    by_image = Quote("m", 1, Fraction(5), 2, SQUARE, None)

    assert ask().tokens_for_usage(usage(1, 1, 1), 0) == 0
    assert by_image.tokens_for_usage(usage(1, 1, 1_000_000), 2) == 10


def test_one_size_of_a_price_by_usage_cannot_be_set() -> None:
    with pytest.raises(OperatorError, match="usage"):
        with_price(terms(), SQUARE, None, 5)
    assert with_price(terms(), None, None, 5) == Terms({(None, None): 5})


@pytest.mark.parametrize(
    ("currency", "per_usd", "markup", "unit", "usd", "expected"),
    [
        ("USD", None, 0, 1_000_000, "0.04", 40_000),
        ("USD", None, 25, 1_000_000, "0.0413", 51_625),
        ("BDT", "122.5", 0, 500, "0.04", 2_450),
        ("BDT", "122.37", 15, 500, "0.011", 774),  # 773.98…
        ("EUR", "0.92", 0, 100_000, "0.04", 3_680),
        ("EUR", "0.921", 7, 100_000, "0.000001", 1),
    ],
)
def test_a_list_price_in_every_currency(
    currency: str, per_usd: str | None, markup: int, unit: int, usd: str, expected: int
) -> None:
    settings = Settings(
        _env_file=None,
        currency=currency,
        currency_per_usd=Decimal(per_usd) if per_usd else None,
        markup_percent=Decimal(markup),
        tokens_per_currency_unit=unit,
    )

    assert tokens_from_usd(Decimal(usd), settings) == expected
    assert expected * usd_per_token(settings) >= Fraction(usd)
    assert f"{unit:,} tokens per {currency}" in explain_conversion(settings)


def test_a_currency_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="IMAGEGATE_CURRENCY_PER_USD"):
        Settings(_env_file=None, currency="EUR")
