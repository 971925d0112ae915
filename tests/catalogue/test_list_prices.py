"""What models cost until an operator says otherwise: the very numbers that were promised, and list prices."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.catalogue.entries import serving
from imagegate.catalogue.pricing import Terms, default_terms, quote
from imagegate.domain import Quote, Size
from imagegate.settings import Settings

CATALOGUE = load_catalogue()
USD = Settings(_env_file=None)


def ask(terms: Terms, size: Size, quality: str | None = None) -> Quote:
    return quote(terms, model="acme/badger", price_version=7, size=size, quality=quality, n=1)


def price(model_id: str, size: str, quality: str | None = None, settings: Settings = USD) -> Fraction:
    default = default_terms(CATALOGUE.entries[model_id], settings)
    parsed = Size.parse(size)
    assert default
    assert parsed
    return ask(default.terms, parsed, quality).image_tokens


@pytest.mark.parametrize("model", ["openai/dall-e-2", "imagegate/sandbox"])
@pytest.mark.parametrize(
    ("size", "expected"), [("256x256", 5_000), ("512x512", 15_000), ("1024x1024", 30_000)]
)
def test_the_small_models_cost_what_the_size_table_says(model: str, size: str, expected: int) -> None:
    assert price(model, size, "medium") == expected


@pytest.mark.parametrize(
    ("size", "quality", "expected"),
    [
        ("1024x1024", "medium", 40_000),
        ("1024x1024", "high", 80_000),
        ("1024x1792", "medium", 80_000),
        ("1024x1792", "high", 120_000),
        ("1792x1024", "medium", 80_000),
        ("1792x1024", "high", 120_000),
    ],
)
def test_dall_e_3_costs_what_its_table_says(size: str, quality: str, expected: int) -> None:
    assert price("openai/dall-e-3", size, quality) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [("64x64", 5_000), ("768x768", 16_875), ("2048x2048", 120_000), ("1024x768", 22_500)],
)
def test_the_sandbox_costs_by_area_at_other_sizes(size: str, expected: int) -> None:
    assert price("imagegate/sandbox", size) == expected


@pytest.mark.parametrize(
    ("model", "size", "quality", "expected"),
    [
        ("openai/gpt-image-2.5-flare", "1024x1024", "high", 52_680),
        ("openai/gpt-image-2.6-flare", "1024x1024", "medium", 52_680),
        ("openai/gpt-image-2.6-flare", "1536x1024", "low", 18_960),
        ("openai/gpt-image-2.6-flare", "1024x1024", "max", 210_720),
        ("openai/gpt-image-2", "1024x1024", "high", 211_000),
        ("openai/chatgpt-image-latest", "1024x1024", "high", 133_000),
        ("black-forest-labs/flux-2-pro", "1024x1024", None, 30_000),
        ("black-forest-labs/flux-2-pro", "1024x1025", None, 45_000),
        ("black-forest-labs/flux-2-pro", "2048x2048", None, 75_000),
        ("black-forest-labs/flux-3-image", "768x768", None, 41_000),
        ("black-forest-labs/flux-3-image", "1536x1536", None, 100_000),
        ("black-forest-labs/flux-1-schnell", "1024x1024", None, 3_000),
        ("google/gemini-3.1-flash-image", "512x512", None, 45_000),
        ("google/gemini-3.1-flash-image", "2048x1024", None, 101_000),
        ("ideogram/ideogram-v3", "1024x1024", "low", 30_000),
        ("ideogram/ideogram-v3", "1024x1024", "medium", 60_000),
        ("ideogram/ideogram-v3", "1024x1024", "high", 90_000),
        ("xai/grok-imagine-image-2.0", "1024x1024", "low", 40_000),
        ("xai/grok-imagine-image-2.0", "1024x1024", "medium", 60_000),
        ("stability-ai/sd3.5-large", "1024x1024", None, 65_000),
    ],
)
def test_list_prices_become_tokens(model: str, size: str, quality: str | None, expected: int) -> None:
    assert price(model, size, quality) == expected


def test_every_priced_model_has_a_price_at_every_size_and_quality_it_lists() -> None:
    for model in CATALOGUE.models.values():
        entry = CATALOGUE.entries[model.id]
        default = default_terms(entry, USD) or default_terms(serving(CATALOGUE.entries, model.id), USD)
        if default is None:
            continue
        for size in model.sizes:
            for quality in model.qualities or (None,):
                assert ask(default.terms, size, quality).image_tokens > 0, (model.id, size, quality)


def test_only_models_whose_price_nobody_publishes_have_none() -> None:
    unpriced = {
        id_
        for id_, entry in CATALOGUE.entries.items()
        if not entry.retired and default_terms(entry, USD) is None
    }

    assert unpriced == {
        "black-forest-labs/flux-2-dev",
        "bytedance/seedream-4.5",
        "microsoft/mai-image-2.6",
        "qwen/qwen-image-3-pro",
        "recraft/recraftv4_1_flash",
    }


def test_a_price_that_was_worked_out_says_so_and_one_of_ours_has_no_rate() -> None:
    worked_out = default_terms(CATALOGUE.entries["openai/gpt-image-2.6-flare"], USD)
    listed = default_terms(CATALOGUE.entries["openai/gpt-image-2"], USD)
    ours = default_terms(CATALOGUE.entries["openai/dall-e-3"], USD)

    assert worked_out
    assert listed
    assert ours
    assert worked_out.source.startswith("estimate from openai: ")
    assert listed.source.startswith("list price of openai: ")
    assert (listed.rate, ours.rate) == (1_000_000, None)


def test_prices_by_decision_know_no_currency_and_list_prices_do() -> None:
    taka = Settings(
        _env_file=None, currency="BDT", currency_per_usd=Decimal("122.5"), tokens_per_currency_unit=500
    )

    assert price("openai/dall-e-3", "1024x1024", "medium", taka) == 40_000
    assert price("openai/gpt-image-2", "1024x1024", "high", taka) == ceil(
        Fraction("0.211") * Fraction("122.5") * 500
    )
