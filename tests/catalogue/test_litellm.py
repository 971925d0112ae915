"""LiteLLM's price list: what is certain becomes tokens, and the rest is skipped with a reason."""

import json
from decimal import Decimal
from typing import Any

import pytest

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.catalogue.litellm import Reading, read_list
from imagegate.catalogue.terms import PerMegapixel, Terms
from imagegate.domain import Size
from imagegate.errors import OperatorError
from imagegate.settings import Settings

CATALOGUE = load_catalogue()
USD = Settings(_env_file=None)
SQUARE, TALL = Size(1024, 1024), Size(1024, 1792)
E3, MINI, PRO = "openai/dall-e-3", "openai/gpt-image-1-mini", "google/gemini-3-pro-image"


def entry(provider: str = "openai", mode: str = "image_generation", **prices: Any) -> dict[str, Any]:
    return {"litellm_provider": provider, "mode": mode, **prices}


def read(
    entries: dict[str, Any], settings: Settings = USD, current: dict[str, Terms | None] | None = None
) -> Reading:
    words = {"standard": "medium", "hd": "high"}
    return read_list("prices.json", json.dumps(entries), CATALOGUE, settings, current or {}, words)


def test_sizes_and_qualities_are_read_from_the_names() -> None:
    read_ = read(
        {
            "sample_spec": entry(output_cost_per_image=0.0),
            "hd/1024-x-1024/dall-e-3": entry(input_cost_per_pixel=7.629e-08, output_cost_per_pixel=0.0),
            "standard/1024-x-1792/dall-e-3": entry(input_cost_per_pixel=4.359e-08, output_cost_per_pixel=0.0),
            "low/1024-x-1024/gpt-image-1-mini": entry(output_cost_per_image=0.005),
            "1024-x-1024/50-steps/bedrock/amazon.nova-canvas-v1:0": entry(
                "bedrock", output_cost_per_image=0.06
            ),
            "gpt-5": entry(mode="chat", input_cost_per_token=1e-06),
        }
    )

    assert read_.skipped == ()
    assert read_.others == 2
    assert read_.terms == {
        E3: Terms({(SQUARE, "high"): 79_996, (TALL, "medium"): 79_988}),
        MINI: Terms({(SQUARE, "low"): 5_000}),
        "amazon/nova-canvas": Terms({(SQUARE, None): 60_000}),
    }


def test_usd_become_tokens_by_the_settings_exactly_and_rounded_up() -> None:
    taka = Settings(
        _env_file=None,
        currency="BDT",
        currency_per_usd=Decimal("122.5"),
        tokens_per_currency_unit=500,
        markup_percent=Decimal(10),
    )

    read_ = read({"low/1024-x-1024/gpt-image-1-mini": entry(output_cost_per_image=0.011)}, taka)

    assert read_.terms[MINI].cells[SQUARE, "low"] == 742  # 0.011 × 122.5 × 1.1 × 500 = 741.125


def test_the_creators_own_price_counts_and_else_the_dearest() -> None:
    low = "low/1024-x-1024"
    read_ = read(
        {
            f"azure/{low}/gpt-image-2": entry("azure", output_cost_per_image=0.9),
            f"{low}/gpt-image-2": entry(output_cost_per_image=0.006),
            "together_ai/black-forest-labs/FLUX.2-dev": entry("together_ai", output_cost_per_image=0.02),
        }
    )

    assert read_.terms["openai/gpt-image-2"].cells == {(SQUARE, "low"): 6_000}
    assert [(s.name, "taken for the same picture" in s.reason) for s in read_.skipped[:1]] == [
        (f"azure/{low}/gpt-image-2", True)
    ]


@pytest.mark.parametrize(
    ("name", "said", "reason"),
    [
        ("aiml/dall-e-3", entry("aiml", output_cost_per_image=0.05), "'aiml'"),
        ("dall-e-9", entry(output_cost_per_image=0.05), "'dall-e-9'"),
        ("max-x-max/dall-e-3", entry(output_cost_per_image=0.05), "max-x-max"),
        ("ultra/1024-x-1024/dall-e-3", entry(output_cost_per_image=0.05), "ultra"),
        ("low/1024-x-1024/dall-e-3", entry(output_cost_per_image=0.05), "no quality 'low'"),
        ("gpt-image-1-mini", entry(input_cost_per_pixel=4e-08), "no size"),
        ("gpt-image-1-mini", entry(output_cost_per_image_token=8e-06), "usage"),
        ("gpt-image-1-mini", entry(input_cost_per_image=0.01), "input images"),
        ("gpt-image-1-mini", entry(), "no price"),
        ("gpt-image-1-mini", entry(mode="image_edit", output_cost_per_image=0.01), "edits"),
        ("gpt-image-1-mini", entry(output_cost_per_image=0), "above 0"),
        ("gpt-image-1-mini", entry(output_cost_per_image=-1), "out of range"),
        ("gpt-image-1-mini", entry(output_cost_per_image="0.01"), "no number"),
        ("gpt-image-1-mini", entry(output_cost_per_image=True), "no number"),
        ("gpt-image-1-mini", entry(output_cost_per_image=float("nan")), "out of range"),
        ("gpt-image-1-mini", entry(output_cost_per_image=2000), "at most 1000 USD"),
    ],
)
def test_what_is_not_certain_is_skipped_with_the_reason(name: str, said: Any, reason: str) -> None:
    read_ = read({name: said})

    assert read_.terms == {}
    (skipped,) = read_.skipped
    assert skipped.name == name
    assert reason in skipped.reason


def test_a_number_of_a_billion_digits_is_not_worked_out() -> None:
    text = (
        '{"gpt-image-1-mini": {"mode": "image_generation", "litellm_provider": "openai", '
        '"output_cost_per_image": 1e-999999999}}'
    )

    read_ = read_list("prices.json", text, CATALOGUE, USD, {}, {})

    assert [skipped.reason for skipped in read_.skipped] == ["output_cost_per_image is out of range"]


def test_a_coarser_number_does_not_hide_finer_prices() -> None:
    flat = {"gemini/gemini-3-pro-image": entry("gemini", output_cost_per_image=0.134)}
    by_size = Terms({(SQUARE, None): 134_000, (Size(4096, 4096), None): 240_000})
    by_area = Terms({}, PerMegapixel(1, 1), "megapixel")

    assert read(flat).terms == {PRO: Terms({(None, None): 134_000})}
    for current in (by_size, by_area):
        read_ = read(flat, current={PRO: current})
        assert read_.terms == {}
        assert len(read_.skipped) == 1
    both = {**flat, "gemini/1024-x-1024/gemini-3-pro-image": entry("gemini", output_cost_per_image=0.1)}
    assert read(both).terms == {PRO: Terms({(SQUARE, None): 100_000})}


def test_other_cells_of_the_price_in_force_stay() -> None:
    current = Terms({(SQUARE, "low"): 1, (SQUARE, "high"): 2})

    read_ = read(
        {"low/1024-x-1024/gpt-image-1-mini": entry(output_cost_per_image=0.005)}, current={MINI: current}
    )

    assert read_.terms[MINI].cells == {(SQUARE, "low"): 5_000, (SQUARE, "high"): 2}


@pytest.mark.parametrize("text", ["[", "[]", "{}", '{"a": 1}', '{"a": {}}', "[" * 100_000])
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match=r"prices\.json"):
        read_list("prices.json", text, CATALOGUE, USD, {}, {})
