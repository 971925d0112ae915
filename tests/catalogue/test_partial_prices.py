"""What a preview costs: from the list of the creator, in files, held for at most and charged as they came."""

from dataclasses import replace
from decimal import Decimal

import pytest

from imagegate.admin.price_rules import zeros
from imagegate.catalogue.catalogue import load_catalogue
from imagegate.catalogue.price_items import differences, put_together, take_apart
from imagegate.catalogue.pricing import Terms, default_terms, quote, with_price
from imagegate.catalogue.terms import PerToken
from imagegate.domain import Quote, Size, UsageRates
from imagegate.settings import Settings

CATALOGUE = load_catalogue()
USD = Settings(_env_file=None)
SQUARE = Size(1024, 1024)
TERMS = Terms({(None, None): 1000}, per_partial=30)
RATES = UsageRates(5, 8, 30_000_000)


def ask(terms: Terms, n: int = 1, previews: int = 3) -> Quote:
    return quote(
        terms, model="acme/badger", price_version=7, size=SQUARE, quality=None, n=n, previews=previews
    )


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("openai/gpt-image-2.6-flare", 3_000),
        ("openai/gpt-image-2", 3_000),
        ("openai/gpt-image-1.5", 3_200),
        ("openai/gpt-image-1-mini", 800),
        ("imagegate/sandbox", 500),
        ("openai/dall-e-3", None),
        ("google/gemini-3-pro-image", None),
    ],
)
def test_a_preview_costs_what_the_list_says_and_no_price_is_made_up(model: str, tokens: int | None) -> None:
    found = default_terms(CATALOGUE.entries[model], USD)

    assert found is not None
    assert found.terms.per_partial == tokens


def test_a_preview_s_price_follows_currency_rate_and_markup() -> None:
    settings = replace_settings(markup_percent=Decimal(10), tokens_per_currency_unit=500)

    found = default_terms(CATALOGUE.entries["openai/gpt-image-2"], settings)

    assert found is not None
    assert found.terms.per_partial == 2  # 0.003 x 1.1 x 500 = 1.65, rounded up


def replace_settings(**changed: object) -> Settings:
    return USD.model_copy(update=changed)


def test_every_offering_that_shows_previews_is_of_a_model_that_has_a_price_for_them() -> None:
    unpriced = [
        (entry.model.id, offering.provider)
        for entry in CATALOGUE.entries.values()
        for offering in entry.model.offerings
        if offering.features.get("previews")
        and ((found := default_terms(entry, USD)) is None or found.terms.per_partial is None)
    ]

    assert unpriced == []


def test_every_preview_of_every_image_is_held_and_those_that_came_are_charged() -> None:
    quoted = ask(TERMS, n=4)

    assert quoted.hold_tokens == 4 * 1000 + 4 * 3 * 30
    assert quoted.tokens_for(4, 12) == quoted.hold_tokens
    assert quoted.tokens_for(3, 5) == 3 * 1000 + 5 * 30
    assert quoted.tokens_for(0, 5) == 0
    assert quoted.tokens_for_usage({"output_tokens": 9}, 1, 2) == 1060


def test_without_a_price_there_are_no_previews_and_zero_is_a_price() -> None:
    assert ask(replace(TERMS, per_partial=None)).previews == 0
    assert (ask(replace(TERMS, per_partial=0)).previews, ask(replace(TERMS, per_partial=0)).hold_tokens) == (
        3,
        1000,
    )
    assert zeros("m", replace(TERMS, per_partial=0)) == ["m previews"]
    assert ask(TERMS, previews=0) == ask(replace(TERMS, per_partial=None), previews=0)


def test_by_usage_previews_are_held_for_and_charged_as_usage() -> None:
    usage = PerToken(RATES, {(None, None): 2000}, 0)
    quoted = ask(Terms({}, None, "token", usage, per_partial=3000))

    assert quoted.hold_tokens == 60_000 + 9_000
    counted = {"input_tokens": 0, "output_tokens": 1000 + 2 * 100}
    assert quoted.tokens_for_usage(counted, 1, 2) == 36_000


def test_setting_the_price_of_an_image_leaves_that_of_a_preview() -> None:
    assert with_price(TERMS, None, None, 5).per_partial == 30
    assert with_price(TERMS, SQUARE, None, 5).per_partial == 30


def test_a_file_has_it_as_an_item_of_its_own() -> None:
    items = list(take_apart("m", TERMS))

    assert [(item.item, item.tokens) for item in items] == [("image", 1000), ("partial_image", 30)]
    assert put_together(items) == TERMS
    (change,) = differences("m", replace(TERMS, per_partial=None), TERMS)
    assert (change.item, change.old_tokens, change.new_tokens) == ("partial_image", None, 30)
