"""Stability AI: which place a model has, and what it is told of the caller's user."""

from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from imagegate.errors import ProviderRejected
from imagegate.outbound import open_outbound
from imagegate.pool import WorkPool
from imagegate.providers.stability import StabilityAdapter, headers_for
from tests.providers.wire_cases import call_from


@pytest.fixture(scope="module")
def pool() -> Any:
    pool = WorkPool(threads=1)
    yield pool
    pool.close()


def test_a_user_is_told_by_hash_only() -> None:
    call = call_from({}, api_key=SecretStr("sk-1"), fields={"user": "alice@example.com"})

    headers = headers_for(call)

    assert len(headers["stability-client-user-id"]) == 64
    assert "alice" not in str(headers)
    assert "stability-client-user-id" not in headers_for(call_from({}))


@pytest.mark.parametrize(
    ("model", "param"),
    [("stable-image-inpaint", "image"), ("fast-upscale", "model"), ("another/../place", "model")],
)
async def test_a_model_that_only_edits_is_never_asked_for_an_image_from_a_prompt(
    model: str, param: str, pool: WorkPool
) -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    async with open_outbound(api=httpx.MockTransport(never)) as outbound:
        with pytest.raises(ProviderRejected) as rejected:
            await StabilityAdapter(outbound, pool).generate(call_from({}, upstream_model=model))

    assert rejected.value.param == param
