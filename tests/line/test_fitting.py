"""What becomes of each parameter at an offering: passed, renamed, converted, emulated, ignored or refused."""

from dataclasses import replace
from typing import Any

import pytest

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.domain import Fit, GenerationRequest, InputImage, Model, Offering, Size, SizeRule
from imagegate.errors import InvalidRequest
from imagegate.generation import fitting, sizing
from imagegate.generation.describing import describe, probes, treatment

SQUARE = Size(1024, 1024)
FREE = SizeRule(kind="free", multiple=16, max_edge=4096)
TIERED = SizeRule(kind="aspect_tier", aspects=("1:1", "16:9", "9:16"), tiers=("1K", "2K"))
PICTURE = InputImage(data=b"", format="png", size=SQUARE)


def offering(sizes: SizeRule = FREE, **more: Any) -> Offering:
    return Offering("acme", "acme-1", sizes, **{"formats": ("png",), **more})


def model(of: Offering, **more: Any) -> Model:
    return Model("acme/one", "acme", 0, (of,), **{"sizes": (SQUARE, Size(1536, 1024)), **more})


def fitted(of: Offering, said: dict[str, Any], **facts: Any) -> Fit:
    request, known = GenerationRequest("a fox", **said), model(of, **facts)
    size = sizing.asked_size(request, known, fitting.tier_of(known, request))
    return fitting.fit(request, known, of, size, fitting.resolve_quality(known, request.quality))


def told(fit: Fit) -> dict[str, tuple[str, str | None]]:
    return {receipt.name: (receipt.treatment, receipt.detail) for receipt in fit.receipts}


@pytest.mark.parametrize(
    ("rule", "said", "size", "exact", "receipts"),
    [
        (FREE, {"aspect": "3:2"}, "1536x1024", None, {"aspect_ratio": ("converted", "3:2 → 1536x1024")}),
        (FREE, {"aspect": "16:9"}, "1360x768", None, {"aspect_ratio": ("converted", "16:9 → 1360x768")}),
        (
            FREE,
            {"aspect": "1:1", "resolution": "2K"},
            "2048x2048",
            None,
            {"resolution": ("converted", "2K → 2048x2048")},
        ),
        (
            TIERED,
            {"aspect": "16:9", "resolution": "2K"},
            "2720x1536",
            None,
            {"aspect_ratio": ("passed", None)},
        ),
        (TIERED, {"aspect": "21:9"}, "1360x768", None, {"aspect_ratio": ("converted", "21:9 → 1K 16:9")}),
        (TIERED, {"resolution": "4K"}, "2048x2048", None, {"resolution": ("converted", "4K → 2K 1:1")}),
        (
            TIERED,
            {"size": Size(900, 500)},
            "1360x768",
            "900x500",
            {"size": ("emulated", "drawn at 1K 16:9, then fitted to 900x500")},
        ),
        (
            TIERED,
            {"size": Size(900, 500), "size_policy": "native"},
            "1360x768",
            None,
            {"size": ("converted", "900x500 → 1K 16:9")},
        ),
        (
            FREE,
            {"size": SQUARE, "aspect": "16:9"},
            "1024x1024",
            None,
            {"size": ("passed", None), "aspect_ratio": ("ignored", "size goes before it")},
        ),
    ],
)
def test_a_size_may_be_said_in_pixels_as_a_ratio_or_as_a_resolution(
    rule: SizeRule, said: dict[str, Any], size: str, exact: str | None, receipts: dict[str, Any]
) -> None:
    fit = fitted(offering(rule), said)

    assert str(fit.size) == size
    assert (str(fit.output.size) if fit.output.size else None) == exact
    assert told(fit).items() >= receipts.items()


@pytest.mark.parametrize(
    ("features", "said", "fields", "receipt"),
    [
        ({"steps": [1, 50]}, {"steps": 20}, {"steps": 20}, ("passed", None)),
        (
            {"steps": [1, 50]},
            {"steps": 80},
            {"steps": 50},
            ("converted", "80 → 50, the nearest that this model takes"),
        ),
        ({}, {"steps": 20}, {}, ("ignored", "acme takes none for this model")),
        (
            {"guidance": [1.5, 10]},
            {"guidance": 1.0},
            {"guidance": 1.5},
            ("converted", "1 → 1.5, the nearest that this model takes"),
        ),
        ({"guidance": True}, {"guidance": 33.0}, {"guidance": 33.0}, ("passed", None)),
        ({"seed": True}, {"seed": 0}, {"seed": 0}, ("passed", None)),
        ({"negative_prompt": True}, {"negative_prompt": "fog"}, {"negative_prompt": "fog"}, ("passed", None)),
        ({"styles": ["Anime", "Noir"]}, {"style": "noir"}, {"style": "Noir"}, ("passed", None)),
        ({"styles": ["Anime", "Noir"]}, {"style": "vivid"}, {}, ("ignored", "this model knows Anime, Noir")),
        ({"style": True}, {"style": "anything"}, {"style": "anything"}, ("passed", None)),
        ({}, {"style": "vivid"}, {}, ("ignored", "this model takes none")),
        (
            {"thinking": ["minimal", "high"]},
            {"thinking": "minimal"},
            {"thinking": "minimal"},
            ("passed", None),
        ),
        (
            {"thinking": ["minimal", "high"]},
            {"thinking": "on"},
            {"thinking": "high"},
            ("converted", "on → high"),
        ),
        ({}, {"thinking": "off"}, {}, ("emulated", "this model never does")),
        (
            {"prompt_enhancement": True},
            {"prompt_enhancement": False},
            {"prompt_enhancement": False},
            ("passed", None),
        ),
        (
            {"prompt_enhancement": "always"},
            {"prompt_enhancement": True},
            {},
            ("emulated", "this model always does"),
        ),
        (
            {"prompt_enhancement": "always"},
            {"prompt_enhancement": False},
            {},
            ("ignored", "this model always rewrites its prompts"),
        ),
        ({}, {"prompt_enhancement": True}, {}, ("ignored", "this model never rewrites its prompts")),
        ({}, {"prompt_enhancement": False}, {}, ("emulated", "this model never does")),
        (
            {"quality_steps": {"low": 8, "high": 50}},
            {"quality": "max"},
            {"steps": 50},
            ("emulated", "max → 50 steps"),
        ),
        (
            {"transparent_background": True},
            {"background": "transparent"},
            {"background": "transparent"},
            ("passed", None),
        ),
        ({"background": True}, {"background": "opaque"}, {"background": "opaque"}, ("passed", None)),
        (
            {},
            {"background": "transparent"},
            {},
            ("ignored", "acme draws no transparent background with this model"),
        ),
        ({}, {"background": "opaque"}, {}, ("emulated", "this model's background is always opaque")),
    ],
)
def test_what_a_model_is_told_beside_the_prompt_goes_where_it_is_taken(
    features: dict[str, Any], said: dict[str, Any], fields: dict[str, Any], receipt: tuple[str, str | None]
) -> None:
    fit = fitted(offering(features=features), said)

    assert fit.fields == fields
    assert told(fit)[next(iter(said))] == receipt


@pytest.mark.parametrize(
    ("features", "said", "param"),
    [
        ({"steps": [1, 50]}, {"steps": 80}, "steps"),
        ({}, {"style": "vivid"}, "style"),
        ({}, {"background": "transparent"}, "background"),
        ({}, {"negative_prompt": "fog"}, "negative_prompt"),
        ({"prompt_enhancement": "always"}, {"prompt_enhancement": False}, "prompt_enhancement"),
        ({}, {"size": SQUARE, "aspect": "16:9"}, "aspect_ratio"),
        ({}, {"output_format": "avif", "size": Size(2048, 1024)}, "output_format"),
        ({}, {"output_format": "png", "output_compression": 5}, "output_compression"),
        ({}, {"extras": {"sparkle": 1}}, "sparkle"),
    ],
)
def test_in_strict_mode_nothing_is_dropped_or_bent(
    features: dict[str, Any], said: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fitted(offering(features=features), {**said, "strict": True})

    assert refused.value.param == param


@pytest.mark.parametrize(
    ("facts", "said", "asked", "output", "treated"),
    [
        ({}, {"output_format": "png"}, "png", (None, "png", None), "passed"),
        ({}, {"output_format": "webp"}, None, (None, "webp", None), "emulated"),
        ({}, {"output_format": "avif"}, None, (None, "avif", None), "emulated"),
        ({}, {"output_format": "gif"}, None, (None, "gif", None), "emulated"),
        ({}, {"output_format": "avif", "size": Size(1616, 1024)}, None, (None, None, None), "ignored"),
        (
            {"formats": ("webp",)},
            {"output_format": "webp", "output_compression": 7},
            None,
            (None, "webp", 7),
            "passed",
        ),
        (
            {"formats": ("webp",), "features": {"output_compression": True}},
            {"output_format": "webp", "output_compression": 7},
            "webp",
            (None, "webp", None),
            "passed",
        ),
        (
            {"formats": ("webp",), "features": {"edit_formats": ["png"]}},
            {"output_format": "webp", "images": (PICTURE,)},
            None,
            (None, "webp", None),
            "emulated",
        ),
    ],
)
def test_a_format_is_asked_for_where_the_provider_encodes_it_and_made_where_not(
    facts: dict[str, Any], said: dict[str, Any], asked: str | None, output: tuple[Any, ...], treated: str
) -> None:
    fit = fitted(offering(**facts), said)

    assert fit.format == asked
    assert (fit.output.size, fit.output.format, fit.output.compression) == output
    assert told(fit)["output_format"][0] == treated


def test_a_quality_of_a_model_without_qualities_stands_for_a_resolution() -> None:
    tiers = {"low": "768sq", "medium": "1K", "high": "2K"}

    drawn = fitted(offering(), {"quality": "hd"}, quality_tiers=tiers)
    sized = fitted(offering(), {"quality": "hd", "size": SQUARE}, quality_tiers=tiers)

    assert drawn.size == Size(2048, 2048)
    assert told(drawn)["quality"] == ("emulated", "hd → 2K")
    assert sized.size == SQUARE
    assert told(sized)["quality"][0] == "ignored"


EDITS = {
    "operations": ["generate", "edit"],
    "max_input_images": 2,
    "edit_model": "acme-1-edit",
    "edit_max_n": 1,
}


def test_an_edit_goes_to_the_model_that_edits_and_a_mask_in_its_colours() -> None:
    of = offering(features={**EDITS, "operations": ["edit", "inpaint"], "mask": "white"}, max_n=4)

    fit = fitted(of, {"images": (PICTURE,), "mask": PICTURE, "n": 2})

    assert (fit.upstream_model, fit.mask, fit.max_n) == ("acme-1-edit", "white", 1)
    assert told(fit) == {
        "n": ("emulated", "calls of 1"),
        "image": ("passed", None),
        "mask": ("converted", "transparent → white"),
    }


@pytest.mark.parametrize(
    ("features", "said", "param", "says"),
    [
        ({}, {"images": (PICTURE,)}, "image", "does not edit images"),
        (EDITS, {"images": (PICTURE,), "mask": PICTURE}, "mask", "does not redraw under a mask"),
        (EDITS, {"images": (PICTURE,) * 3}, "image", "at most 2 input images"),
        ({"operations": ["edit"]}, {}, "model", "does not draw from a prompt alone"),
        ({"thinking": ["minimal", "high"]}, {"thinking": "medium"}, "thinking", "it takes minimal, high"),
        ({}, {"thinking": "high"}, "thinking", "it takes only off"),
    ],
)
def test_what_an_offering_cannot_do_at_all_it_says(
    features: dict[str, Any], said: dict[str, Any], param: str, says: str
) -> None:
    lack = fitting.lack(GenerationRequest("a fox", **said), offering(features=features))

    assert lack is not None
    assert (lack.param, says in lack.message) == (param, True)


def test_what_is_published_of_a_parameter_is_what_planning_does_with_it() -> None:
    catalogue = load_catalogue()
    known = catalogue.models["google/gemini-3.1-flash-image"]
    offerings = catalogue.shelf("live")[known.id]

    published = describe(known, offerings)

    for of in offerings:
        for probe in probes(known, of):
            told_of = published[probe.name]["treatment"][of.provider]
            word = told_of if isinstance(told_of, str) else told_of[probe.value]
            assert word == treatment(known, of, probe), probe
    assert published["thinking"]["enum"]
    assert published["image"]["max_items"] >= 1


def test_every_offering_of_the_catalogue_can_be_fitted_to_every_parameter() -> None:
    catalogue = load_catalogue()
    words = {"passed", "renamed", "converted", "emulated", "ignored", "refused"}

    for known in catalogue.models.values():
        for of in catalogue.shelf("live").get(known.id, ()):
            found = {probe.name: treatment(known, of, probe) for probe in probes(known, of)}
            assert set(found.values()) <= words, (known.id, of.provider)


def test_a_request_is_fitted_to_the_sizes_it_is_priced_at() -> None:
    known = replace(model(offering()), default_size=Size(1536, 1024))

    assert sizing.asked_size(GenerationRequest("a"), known, None) == Size(1536, 1024)
    assert sizing.asked_size(GenerationRequest("a", aspect="1:1"), known, None) == SQUARE
    assert sizing.asked_size(GenerationRequest("a", resolution="2K"), known, None) == Size(2496, 1680)
