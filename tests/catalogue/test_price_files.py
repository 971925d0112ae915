"""Price files: what is written is read again as the very same, and what is wrong is found with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.catalogue.price_files import read_prices, write_csv, write_yaml
from imagegate.catalogue.price_items import Change, Item, differences, take_apart
from imagegate.catalogue.pricing import default_terms
from imagegate.catalogue.terms import PerMegapixel, PerToken, Terms
from imagegate.domain import Size, UsageRates
from imagegate.errors import OperatorError
from imagegate.settings import Settings

CATALOGUE = load_catalogue()
WRITERS = {"prices.csv": write_csv, "prices.yaml": write_yaml}
MODEL, SQUARE = "openai/gpt-image-2.5-flare", Size(1024, 1024)

tokens = st.integers(0, 10**12)
places = st.tuples(
    st.none() | st.builds(Size, st.integers(1, 99999), st.integers(1, 99999)),
    st.sampled_from([None, *CATALOGUE.models[MODEL].qualities]),
)
cells = st.dictionaries(places, tokens, max_size=5)
rules = st.builds(PerMegapixel, tokens, tokens, st.booleans(), tokens)
usages = st.builds(
    PerToken,
    st.builds(UsageRates, tokens, tokens, tokens),
    st.dictionaries(places, tokens, min_size=1, max_size=5),
    tokens,
    tokens,
)
partials = st.none() | tokens
tables = st.one_of(
    st.none(),
    st.builds(Terms, st.dictionaries(places, tokens, min_size=1, max_size=5), per_partial=partials),
    st.builds(Terms, cells, rules, st.just("megapixel"), per_partial=partials),
    st.builds(Terms, st.just({}), st.none(), st.just("token"), usages, per_partial=partials),
)


def written(name: str, prices: dict[str, Terms | None]) -> str:
    return WRITERS[name](item for model, terms in prices.items() for item in take_apart(model, terms))


def read(name: str, text: str) -> dict[str, Terms | None]:
    return read_prices(name, text, CATALOGUE, {}, {"standard": "medium", "hd": "high"})


def refused(name: str, text: str) -> str:
    with pytest.raises(OperatorError) as refusal:
        read(name, text)
    return refusal.value.message


@pytest.mark.parametrize("name", WRITERS)
@given(tables)
def test_what_is_written_is_read_as_the_same_price(name: str, terms: Terms | None) -> None:
    text = written(name, {MODEL: terms})

    assert read(name, text) == {MODEL: terms}
    assert written(name, read(name, text)) == text


@pytest.mark.parametrize("name", WRITERS)
def test_the_packaged_prices_survive_a_file(name: str) -> None:
    settings = Settings(_env_file=None)
    prices: dict[str, Terms | None] = {
        id_: default.terms
        for id_, entry in CATALOGUE.entries.items()
        if (default := default_terms(entry, settings))
    }
    text = written(name, prices)

    assert len(prices) > 50
    assert read_prices(name, text, CATALOGUE, prices, {}) == prices


def test_a_spreadsheet_s_habits_are_understood() -> None:
    text = "\ufeffmodel,quality,size,item,tokens\r\ndall-e-3,hd,1024x1024,image,7\r\n\r\n"

    assert read("prices.csv", text) == {"openai/dall-e-3": Terms({(SQUARE, "high"): 7})}


def test_every_fault_is_named_with_its_line() -> None:
    rows = (
        "model,item,size,quality,tokens",
        "openai/dall-e-3,image,1024x1024,medium,40000",
        "openai/dal-e-3,image,1024x1024,medium,40000",
        "openai/dall-e-3,image,1024,medium,40000",
        "openai/dall-e-3,image,1024x1024,ultra,40000",
        "openai/dall-e-3,image,1792x1024,medium,4e4",
        "openai/dall-e-3,image,1792x1024,medium,-1",
        "openai/dall-e-3,image,1792x1024,medium,9999999999999",
        "openai/dall-e-3,picture,,,1",
        "openai/dall-e-3,minimum,1024x1024,,1",
    )

    message = refused("prices.csv", "\n".join(rows))

    lines = message.splitlines()
    assert lines[0].startswith("The price file prices.csv is not valid, so nothing was changed")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [f"line {n}" for n in range(3, 11)]
    assert "openai/dall-e-3" in lines[1]  # what was meant


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("openai/dall-e-3:\n- {item: image, tokens: 5}\n- {item: image, tokens: five}\n", 3),
        ("openai/dall-e-3:\n- {item: image, tokens: 5}\n- {item: image, tokens: 6}\n", 3),
        ("openai/dall-e-3:\n  item: image\n", 2),
        ("openai/dall-e-3:\n- {item: image, tokens: 5, price: 6}\n", 2),
        ("openai/dall-e-3:\n- {item: image, tokens: 5\n", 3),
        ("- openai/dall-e-3\n", 1),
        ("openai/dall-e-3:\n- {item: ended}\n- {item: image, tokens: 5}\n", 3),
        ("openai/dall-e-3:\n- {item: first_megapixel, tokens: 5}\n", 2),
        ("openai/dall-e-3:\n- {item: output, tokens: 5}\n", 2),
    ],
)
def test_yaml_is_refused_with_the_line_too(text: str, line: int) -> None:
    assert f"line {line}:" in refused("prices.yaml", text)


def test_csv_without_the_columns_or_with_half_a_row_is_refused() -> None:
    assert "line 1:" in refused("prices.csv", "model,tokens\nopenai/dall-e-3,5\n")
    assert "line 2:" in refused("prices.csv", "model,item,size,quality,tokens\nopenai/dall-e-3,image\n")


def test_a_difference_names_each_number_and_its_percentage() -> None:
    tall = Size(1024, 1536)
    old = Terms({(SQUARE, "low"): 200, (SQUARE, "high"): 300, (tall, None): 5})
    new = Terms({(SQUARE, "low"): 225, (SQUARE, "high"): 300, (None, None): 7})

    found = differences(MODEL, old, new)

    assert found == [
        Change(MODEL, "image", SQUARE, "low", 200, 225),
        Change(MODEL, "image", None, None, None, 7),
        Change(MODEL, "image", tall, None, 5, None),
    ]
    assert [change.percent for change in found] == ["+12.5", None, None]
    assert Change(MODEL, "image", None, None, 300, 200).percent == "-33.3"
    assert differences(MODEL, old, old) == []
    assert list(take_apart(MODEL, None)) == [Item(MODEL, "ended")]
