"""The packaged data holds together, and every way of naming a model finds it."""

from collections import Counter
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.catalogue.catalogue import Catalogue, load_catalogue
from imagegate.catalogue.entries import serving
from imagegate.domain import Size
from imagegate.errors import OperatorError, UnknownModel

CATALOGUE = load_catalogue()
SCHNELL = "black-forest-labs/flux-1-schnell"


def found(name: str, catalogue: Catalogue = CATALOGUE) -> tuple[str, str | None]:
    match = catalogue.find(name)
    return match.model.id, match.forced_provider


def write(folder: Path, text: str) -> Path:
    path = folder / "ours.yaml"
    path.write_text(text)
    return path


def test_every_model_is_sold_or_has_a_successor_that_is() -> None:
    for model_id in CATALOGUE.entries:
        assert serving(CATALOGUE.entries, model_id).model.offerings, model_id


def test_no_alias_is_another_models_name_or_alias() -> None:
    names = Counter(
        name.casefold()
        for entry in CATALOGUE.entries.values()
        for name in {entry.model.id, entry.model.name, *entry.model.aliases}
    )

    assert [name for name, count in names.items() if count > 1] == []


def test_the_usual_size_and_quality_of_a_model_are_among_its_own() -> None:
    for model in CATALOGUE.models.values():
        assert model.default_size in model.sizes, model.id
        assert model.default_quality in (model.qualities or (None,)), model.id


def test_a_models_sizes_lie_within_the_bounds_of_its_first_offering() -> None:
    for entry in CATALOGUE.entries.values():
        for offering in entry.model.offerings[:1]:
            rule = offering.sizes
            outside = [
                str(size)
                for size in entry.model.sizes
                if rule.kind in ("free", "list")
                and not (
                    rule.min_edge <= min(size.width_px, size.height_px)
                    and max(size.width_px, size.height_px) <= rule.max_edge
                    and rule.min_pixels <= size.area_px <= (rule.max_pixels or size.area_px)
                    and size.width_px % rule.multiple == size.height_px % rule.multiple == 0
                    and (not rule.sizes or size in rule.sizes)
                )
            ]
            assert outside == [], entry.model.id


def test_the_first_offering_is_the_creators_own_where_it_sells_itself() -> None:
    for entry in CATALOGUE.entries.values():
        sellers = [offering.provider for offering in entry.model.offerings]
        assert entry.list_provider not in sellers[1:], entry.model.id


def test_days_in_the_data_are_days() -> None:
    for model in CATALOGUE.models.values():
        assert date.fromtimestamp(model.created) > date(2022, 1, 1), model.id
        if model.shutdown_date:
            assert date.fromisoformat(model.shutdown_date) > date(2025, 1, 1), model.id


def test_the_data_names_no_file_of_anybodys_machine() -> None:
    for name in ("models.yaml", "providers.yaml", "prices.yaml"):
        text = files("imagegate.catalogue").joinpath(name).read_text()
        assert "/work" not in text
        assert "specs/" not in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dall-e-3", ("openai/dall-e-3", None)),
        ("openai/dall-e-3", ("openai/dall-e-3", None)),
        ("openai:dall-e-3", ("openai/dall-e-3", "openai")),
        ("openai:gpt-image-1", ("openai/gpt-image-1", "openai")),
        ("openai:openai/gpt-image-2", ("openai/gpt-image-2", "openai")),
        (
            "together:black-forest-labs/FLUX.1-schnell-Free",
            ("black-forest-labs/FLUX.1-schnell-Free", "together"),
        ),
        ("together:black-forest-labs/FLUX.1-schnell", (SCHNELL, "together")),
        ("together/black-forest-labs/FLUX.1-schnell", (SCHNELL, "together")),
        ("black-forest-labs/FLUX.1-schnell", (SCHNELL, None)),
        ("flux-schnell", (SCHNELL, None)),
        ("fal/gpt-image-2", ("openai/gpt-image-2", "fal")),
        ("azure_openai:gpt-image-2", ("openai/gpt-image-2", "azure_openai")),
        ("openrouter/openai/gpt-image-2.5-sunburst", ("openai/gpt-image-2.5-sunburst", "openrouter")),
        ("gpt-image-2.5-flare-2026-09-08", ("openai/gpt-image-2.5-flare", None)),
        ("openai/gpt-image-2.5-flare-2026-09-08", ("openai/gpt-image-2.5-flare", None)),
        ("bedrock:stability.stable-image-core-v1:1", ("stability-ai/stable-image-core", "bedrock")),
        ("stability.stable-image-core-v1:1", ("stability-ai/stable-image-core", None)),
        ("sandbox", ("imagegate/sandbox", None)),
        ("sandbox:sandbox", ("imagegate/sandbox", "sandbox")),
        ("flux-1.1-pro", ("black-forest-labs/flux-1.1-pro", None)),
        ("DALL-E-3", ("openai/dall-e-3", None)),
        ("OpenAI:GPT-Image-2", ("openai/gpt-image-2", "openai")),
    ],
)
def test_a_model_is_found_by_every_name_it_goes_by(name: str, expected: tuple[str, str | None]) -> None:
    assert found(name) == expected


def test_an_id_of_ours_never_forces_a_provider() -> None:
    for model_id in CATALOGUE.models:
        assert found(model_id) == (model_id, None)
        assert found(model_id.upper()) == (model_id, None)


def test_a_slip_of_the_pen_gets_at_most_three_suggestions() -> None:
    with pytest.raises(
        UnknownModel, match=r"'dalle-3' does not exist. Did you mean openai/dall-e-3"
    ) as raised:
        CATALOGUE.find("dalle-3")

    assert raised.value.message.count("/") <= 3


def test_a_provider_that_does_not_sell_the_model_is_an_error_that_names_those_who_do() -> None:
    with pytest.raises(UnknownModel, match="sold by openai, azure_openai, fal"):
        CATALOGUE.find("ideogram:gpt-image-2")


@pytest.mark.parametrize("name", ["", ":", "/", "a" * 10_000, "x\x00y", "openai:", "<script>"])
def test_nonsense_is_an_unknown_model_and_is_not_echoed(name: str) -> None:
    with pytest.raises(UnknownModel) as raised:
        CATALOGUE.find(name)

    assert len(raised.value.message) < 300
    assert "<" not in raised.value.message
    assert "\x00" not in raised.value.message


@given(st.text(max_size=60))
def test_no_name_breaks_the_search(name: str) -> None:
    try:
        match = CATALOGUE.find(name)
    except UnknownModel:
        return
    assert match.model.id in CATALOGUE.models


def test_the_live_shelf_holds_only_what_can_be_reached(tmp_path: Path) -> None:
    path = write(tmp_path, "models: [{id: acme/owl, offerings: [{provider: nobody, model: owl}]}]")
    shelf = load_catalogue(path).shelf("live")

    sellers = {o.provider for offerings in shelf.values() for o in offerings}
    assert {"openai", "recraft", "sandbox", "together", "xai"} <= sellers <= set(CATALOGUE.providers)
    assert "openai" in [o.provider for o in shelf["openai/gpt-image-2"]]
    assert shelf["acme/owl"] == ()


def test_a_retired_model_is_served_by_its_successor_but_keeps_its_own_sizes() -> None:
    model = CATALOGUE.models["openai/dall-e-2"]

    assert [o.upstream_model for o in model.offerings] == ["gpt-image-2.5-flare"]
    assert model.sizes == (Size(256, 256), Size(512, 512), Size(1024, 1024))
    assert model.offerings == CATALOGUE.shelf("live")[model.id]
    assert model.max_prompt_chars == 32_000


def test_the_test_shelf_has_the_sandbox_in_place_of_every_model() -> None:
    shelf = CATALOGUE.shelf("test")

    assert set(shelf) == set(CATALOGUE.models)
    for offerings in shelf.values():
        assert [o.provider for o in offerings] == ["sandbox"]
    assert shelf["openai/gpt-image-2"][0].sells_as == {"sandbox", "openai", "azure_openai", "fal"}


def test_whoever_can_be_forced_is_found_on_the_test_shelf() -> None:
    for model_id, provider in CATALOGUE.names.exact.values():
        if provider:
            assert provider in CATALOGUE.shelf("test")[model_id][0].sells_as


def test_an_operator_adds_a_provider_a_model_and_an_offering_of_a_known_model(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        providers:
          den:
            adapter: imagegate.providers.openai_compatible:OpenAICompatibleAdapter
            base_url: http://gpu.example.com/v1
            needs_key: false
        models:
        - id: acme/badger
          offerings: [{provider: den, model: badger-v1, max_n: 2}]
        - id: black-forest-labs/flux-1-schnell
          offerings: [{provider: den, model: schnell}]
        prices:
          acme/badger: {tokens: 1234}
        """,
    )

    catalogue = load_catalogue(path)

    assert found("den:badger-v1", catalogue) == ("acme/badger", "den")
    assert found("den/flux-schnell", catalogue) == (SCHNELL, "den")
    assert {o.provider: o.upstream_model for o in catalogue.shelf("live")[SCHNELL]}["den"] == "schnell"
    assert catalogue.models[SCHNELL].aliases == CATALOGUE.models[SCHNELL].aliases
    assert catalogue.providers["den"].base_url == "http://gpu.example.com/v1"
    assert set(CATALOGUE.models) < set(catalogue.models)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("models: [", "is not YAML"),
        ("- 1", "is not valid"),
        ("model: []", "model: Extra inputs"),
        ("models: [{id: acme/badger}]", "acme/badger has neither an offering nor a successor"),
        ("models: [{id: badger, successor: openai/dall-e-3}]", "models.0.id"),
        ("models: [{id: acme/a, successor: acme/b}, {id: acme/b, successor: acme/a}]", "neither an offering"),
        ("models: [{id: acme/a, successor: openai/dall-e-3}, {id: acme/a}]", "names acme/a twice"),
        ("models: [{id: acme/a, offerings: [{provider: x, model: y, max: 3}]}]", "offerings.0.max"),
        ("providers: {den: {adapter: somewhere}}", "providers.den.adapter"),
        ("prices: {acme/a: {tokens: 5}}", "acme/a is no model"),
        ("prices: {openai/dall-e-3: {tokens: {huge size: 5}}}", "neither a size"),
        ("prices: {openai/dall-e-3: {tokens: {high: {1024x1024: 5}}}}", "by size first"),
        ("prices: {openai/dall-e-3: {tokens: 0.5}}", "prices.openai/dall-e-3.tokens"),
        ("prices: {openai/dall-e-3: {tokens: -5}}", "prices.openai/dall-e-3.tokens"),
    ],
)
def test_a_faulty_file_is_refused_with_its_name_and_the_fault(tmp_path: Path, text: str, fault: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(OperatorError) as raised:
        load_catalogue(path)

    assert str(path) in raised.value.message
    assert fault in raised.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"gone\.yaml cannot be read"):
        load_catalogue(tmp_path / "gone.yaml")
