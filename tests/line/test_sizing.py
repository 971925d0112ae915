"""Which size an offering is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.domain import Size, SizeRule
from imagegate.generation.sizing import Native, native_for, ratio, shape_distance

GEMINI = SizeRule(
    "aspect_tier", aspects=("1:1", "3:2", "2:3", "16:9", "9:16", "21:9"), tiers=("1K", "2K", "4K")
)
STABILITY = SizeRule("aspect", aspects=("21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21"))
IDEOGRAM = SizeRule("list_or_aspect", sizes=(Size(1024, 1024), Size(1344, 768)), aspects=("1:1", "16:9"))


@pytest.mark.parametrize(
    ("rule", "wanted", "expected"),
    [
        (GEMINI, "1024x1024", Native(Size(1024, 1024), "1:1", "1K")),
        (GEMINI, "1025x1025", Native(Size(2048, 2048), "1:1", "2K")),
        (GEMINI, "512x512", Native(Size(1024, 1024), "1:1", "1K")),
        (GEMINI, "4096x4096", Native(Size(4096, 4096), "1:1", "4K")),
        (GEMINI, "1920x1080", Native(Size(2720, 1536), "16:9", "2K")),
        (GEMINI, "1024x1536", Native(Size(1680, 2496), "2:3", "2K")),
        (STABILITY, "1024x1024", Native(Size(1024, 1024), "1:1")),
        (STABILITY, "1792x1024", Native(Size(1360, 768), "16:9")),
        (STABILITY, "100x4000", Native(Size(672, 1552), "9:21")),
        (IDEOGRAM, "1344x768", Native(Size(1344, 768))),
        (IDEOGRAM, "1920x1080", Native(Size(1360, 768), "16:9")),
        (SizeRule("aspect_or_free", aspects=("1:1",), multiple=32), "640x480", Native(Size(640, 480))),
    ],
)
def test_the_nearest_is_asked_for(rule: SizeRule, wanted: str, expected: Native) -> None:
    size = Size.parse(wanted)
    assert size is not None

    assert native_for(rule, size) == expected


RULES = sorted(
    {offering.sizes for model in load_catalogue(None).models.values() for offering in model.offerings},
    key=str,
)


@given(st.sampled_from(RULES), st.integers(64, 4096), st.integers(64, 4096))
def test_no_listed_shape_is_nearer(rule: SizeRule, width: int, height: int) -> None:
    """For every size rule of the catalogue."""
    wanted = Size(width, height)
    native = native_for(rule, wanted)

    if native.aspect:
        across, _, down = native.aspect.partition(":")
        distance = shape_distance(float(across) / float(down), ratio(wanted))
        for aspect in rule.aspects:
            across, _, down = aspect.partition(":")
            assert distance <= shape_distance(float(across) / float(down), ratio(wanted))
    if native.tier:
        assert native.tier in rule.tiers
