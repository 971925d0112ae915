"""Every model that the public pages of like services name can be asked for here, in every size they list for it."""

import base64
import io

import pytest
from httpx import AsyncClient
from PIL import Image

from imagegate.catalogue.catalogue import Catalogue, load_catalogue

PATH = "/v1/images/generations"
DALL_E_2 = ("256x256", "512x512", "1024x1024")
DALL_E_3 = ("1024x1024", "1024x1792", "1792x1024")
EDGES = ("512x512", "1024x1024", "1024x1792", "1792x1024")
"""From the common values of `width` and `height`: 512, 1024 and 1792."""
SQUARE = ("1024x1024",)

LISTED: dict[str, tuple[str, ...]] = {
    "dall-e-2": DALL_E_2,
    "dall-e-3": DALL_E_3,
    "openai/dall-e-2": DALL_E_2,
    "openai/dall-e-3": DALL_E_3,
    "flux-1.1-pro": ("1024x1024", "1024x768", "768x1024"),
    "flux-dev": ("1024x1024", "1024x768"),
    "stable-diffusion-xl": ("1024x1024", "1152x896", "896x1152"),
    "ideogram-v2": SQUARE,
    "gpt-image-1": EDGES,
    "openai:gpt-image-1": EDGES,
    "together:black-forest-labs/FLUX.1-schnell-Free": EDGES,
    "google:gemini-2.5-flash-image-preview": EDGES,
    "openrouter:google/gemini-2.5-flash-image-preview": EDGES,
    "openai/gpt-image-2": SQUARE,
    "imagen": SQUARE,
}
SUCCESSORS = {
    "dall-e-2": "openai/gpt-image-2.5-flare",
    "dall-e-3": "openai/gpt-image-2.5-flare",
    "gpt-image-1": "openai/gpt-image-2.5-flare",
    "flux-1.1-pro": "bfl:flux-pro-1.1",
    "flux-dev": "bfl:flux-dev",
    "stable-diffusion-xl": "stability:sd3.5-medium",
    "ideogram-v2": "ideogram:ideogram-v3",
    "FLUX.1-schnell-Free": "flux-schnell",
    "gemini-2.5-flash-image-preview": "gemini-2.5-flash-image",
    "imagen": "gemini-3.1-flash-image",
    "imagen-4.0-generate-001": "gemini-3.1-flash-image",
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.mark.parametrize(("model", "size"), [(model, size) for model in LISTED for size in LISTED[model]])
async def test_a_model_of_the_public_pages_draws_in_a_size_they_list(
    test_client: AsyncClient, model: str, size: str
) -> None:
    body = {"prompt": "A cozy cabin in the snowy mountains", "model": model, "size": size}

    response = await test_client.post(PATH, json=body)

    assert response.status_code == 200, response.text
    answer = response.json()
    with Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))) as picture:
        assert f"{picture.width}x{picture.height}" == size == answer["size"]
    assert answer["metadata"]["charged_tokens"] > 0


@pytest.mark.parametrize(("name", "successor"), SUCCESSORS.items())
def test_a_retired_name_is_served_by_whoever_sells_its_successor(
    catalogue: Catalogue, name: str, successor: str
) -> None:
    served, expected = catalogue.find_served(name).model, catalogue.find_served(successor).model

    assert [o.upstream_model for o in served.offerings] == [o.upstream_model for o in expected.offerings]
    assert served.offerings


@pytest.mark.parametrize("name", [name for name in LISTED if ":" in name])
def test_a_provider_that_a_name_forces_can_be_asked(catalogue: Catalogue, name: str) -> None:
    match = catalogue.find_served(name)

    assert match.forced_provider == name.partition(":")[0]
    assert any(match.forced_provider in offering.sells_as for offering in match.model.offerings)
