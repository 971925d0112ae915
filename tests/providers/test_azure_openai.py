"""Azure OpenAI: two surfaces, two kinds of keys."""

from typing import Any

import pytest
from pydantic import SecretStr

from imagegate.providers.azure_openai import endpoint, headers_for, write_body
from tests.providers.wire_cases import call_from

V1 = "https://r1.openai.azure.com/openai/v1"
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
