"""What a provider signed into its image reaches the caller byte for byte, unless the caller asked for another image."""

import base64
import struct
import zlib

import pytest
from httpx import AsyncClient

from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, picture

CLAIM = b"a manifest, signed over the bytes beside it " * 300
BODY = {"prompt": "a heron", "model": "gpt-image-2", "size": "1024x1024"}


def with_manifest(png: bytes) -> bytes:
    """C2PA's manifest lies in one chunk `caBX`, before the pixels."""
    kind = b"caBX"
    chunk = struct.pack(">I", len(CLAIM)) + kind + CLAIM + struct.pack(">I", zlib.crc32(kind + CLAIM))
    return png[:33] + chunk + png[33:]


SIGNED = with_manifest(picture("1024x1024", "png"))


def answer() -> Status:
    return Status(200, {"created": 1, "data": [{"b64_json": base64.b64encode(SIGNED).decode()}]})


@pytest.mark.parametrize("format", [None, "png"])
async def test_a_manifest_survives_where_nothing_else_was_asked(
    client: AsyncClient, fake: FakeProvider, format: str | None
) -> None:
    fake.default = answer()

    response = await client.post("/v1/images/generations", json=BODY | {"output_format": format})

    assert response.status_code == 200, response.text
    body = response.json()
    kept = await client.get(f"/v1/images/generations/{body['metadata']['id']}")
    linked = await client.get(kept.json()["data"][0]["url"])
    assert base64.b64decode(body["data"][0]["b64_json"]) == SIGNED
    assert linked.content == SIGNED
    assert body["metadata"]["provenance"] == "as the provider made it"


async def test_another_size_is_another_image_and_says_so(client: AsyncClient, fake: FakeProvider) -> None:
    fake.default = answer()

    response = await client.post("/v1/images/generations", json=BODY | {"size": "512x512"})

    assert CLAIM not in base64.b64decode(response.json()["data"][0]["b64_json"])
    assert response.json()["metadata"]["provenance"] == "re-encoded by the gateway"
