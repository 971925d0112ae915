"""Ideogram: where each model does what it is asked for, and what none of them can do."""

from typing import Any

import httpx
import pytest

from imagegate.domain import Size
from imagegate.errors import ProviderRejected
from imagegate.outbound import open_outbound
from imagegate.pool import WorkPool
from imagegate.providers.ideogram import IdeogramAdapter, nearest_ratio, write_body
from tests.providers.wire_cases import call_from

CLEAR = {"background": "transparent"}
PICTURE = {"images": ["png 64x48"]}
MASKED = {**PICTURE, "mask": "png 64x48 grey"}


@pytest.fixture(scope="module")
def pool() -> Any:
    pool = WorkPool(threads=1)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"upstream_model": "ideogram-v4", **MASKED}, "model"),
        ({"upstream_model": "ideogram-v4", "fields": CLEAR}, "background"),
        ({"upstream_model": "ideogram-v3", "fields": CLEAR, **PICTURE}, "background"),
        ({"upstream_model": "ideogram-v3-replace-background"}, "image"),
        ({"upstream_model": "ideogram-v3-replace-background", **MASKED}, "image"),
        ({"upstream_model": "another/../place"}, "model"),
    ],
)
async def test_what_a_model_cannot_do_is_refused_before_anybody_is_asked(
    asked: dict[str, Any], param: str, pool: WorkPool
) -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    async with open_outbound(api=httpx.MockTransport(never)) as outbound:
        with pytest.raises(ProviderRejected) as rejected:
            await IdeogramAdapter(outbound, pool).generate(call_from({"call": asked}))

    assert rejected.value.param == param


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        ("1024x1024", "1x1"),
        ("1536x640", "2x1"),
        ("1312x736", "16x9"),
        ("832x1248", "2x3"),
        ("100x4000", "1x3"),
    ],
)
def test_clear_ground_is_asked_for_in_the_nearest_ratio(size: str, ratio: str) -> None:
    parsed = Size.parse(size)
    assert parsed is not None

    assert nearest_ratio(parsed) == ratio


@pytest.mark.parametrize(
    ("style", "sent"),
    [
        ("vivid", {"style_type": "AUTO"}),
        ("natural", {"style_type": "REALISTIC"}),
        ("design", {"style_type": "DESIGN"}),
        ("80s_illustration", {"style_preset": "80S_ILLUSTRATION"}),
    ],
)
def test_a_style_is_a_type_or_a_preset(style: str, sent: dict[str, str]) -> None:
    body = write_body(call_from({"call": {"upstream_model": "ideogram-v3", "fields": {"style": style}}}))

    assert {name: value for name, value in body.items() if name.startswith("style")} == sent
