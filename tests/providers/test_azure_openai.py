"""Azure: OpenAI's two surfaces, Foundry's own, two kinds of keys."""

from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from imagegate.errors import NotSent
from imagegate.outbound import open_outbound
from imagegate.pool import WorkPool
from imagegate.providers.azure_openai import AzureOpenAIAdapter, endpoint, headers_for, write_body
from tests.providers.wire_cases import call_from

V1 = "https://r1.openai.azure.com/openai/v1"
FOUNDRY = "https://r1.services.ai.azure.com"
OLDER = "https://r1.openai.azure.com/openai/deployments"


@pytest.mark.parametrize(
    ("base_url", "place"),
    [
        (V1, f"{V1}/images/generations"),
        (f"{V1}?api-version=preview", f"{V1}/images/generations?api-version=preview"),
        (OLDER, f"{OLDER}/my%2Ffox/images/generations?api-version=2025-04-01-preview"),
        (f"{OLDER}?api-version=2026-01-01", f"{OLDER}/my%2Ffox/images/generations?api-version=2026-01-01"),
        (f"{OLDER}/cat", f"{OLDER}/cat/images/generations?api-version=2025-04-01-preview"),
        (f"{OLDER}/cat/?api-version=2026-01-01", f"{OLDER}/cat/images/generations?api-version=2026-01-01"),
    ],
)
def test_a_base_url_of_either_surface_is_completed(base_url: str, place: str) -> None:
    call = call_from({}, base_url=base_url, upstream_model="my/fox")

    assert endpoint(call) == place
    assert ("model" in write_body(call)) == (base_url.startswith(V1))


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        ("0123456789abcdef", {"api-key": "0123456789abcdef"}),
        (
            "eyJhbGciOi.eyJhdWQiOi.c2lnbmF0dXJl",
            {"Authorization": "Bearer eyJhbGciOi.eyJhdWQiOi.c2lnbmF0dXJl"},
        ),
        ("eyJ-a-key-that-begins-so", {"api-key": "eyJ-a-key-that-begins-so"}),
        (None, {}),
    ],
)
def test_a_token_goes_as_a_bearer_and_a_key_in_a_header_of_its_own(
    key: str | None, headers: dict[str, Any]
) -> None:
    assert headers_for(call_from({}, api_key=SecretStr(key) if key else None)) == headers


@pytest.mark.parametrize("place", [V1, OLDER])
def test_an_edit_goes_to_the_edits_of_either_surface(place: str) -> None:
    call = call_from({"call": {"images": ["png 8x8"]}}, base_url=place, upstream_model="fox")

    assert endpoint(call).partition("?")[0] == f"{place}{'/fox' if place == OLDER else ''}/images/edits"


@pytest.mark.parametrize(
    ("base_url", "place"),
    [
        (
            f"{FOUNDRY}/providers/blackforestlabs/v1",
            "/providers/blackforestlabs/v1/my-flux?api-version=preview",
        ),
        (
            f"{FOUNDRY}/providers/blackforestlabs/v1/?api-version=2026-09-01",
            "/providers/blackforestlabs/v1/my-flux?api-version=2026-09-01",
        ),
        (f"{FOUNDRY}/mai/v1", "/mai/v1/images/generations?api-version=preview"),
        (f"{FOUNDRY}/openai/v1", "/openai/v1/images/generations"),
    ],
)
def test_foundrys_own_models_are_asked_at_routes_of_their_own(base_url: str, place: str) -> None:
    assert endpoint(call_from({}, base_url=base_url, upstream_model="my-flux")) == FOUNDRY + place


async def test_mai_is_not_given_pictures_that_it_may_not_read() -> None:
    call = call_from({"call": {"images": ["png 8x8"]}}, base_url=f"{FOUNDRY}/mai/v1")
    asked: list[httpx.Request] = []
    api = httpx.MockTransport(lambda request: asked.append(request) or httpx.Response(500))
    pool = WorkPool(threads=1)

    async with open_outbound(api=api) as outbound:
        with pytest.raises(NotSent, match="pictures"):
            await AzureOpenAIAdapter(outbound, pool).generate(call)

    pool.close()
    assert asked == []
