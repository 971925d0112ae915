"""Every way a request can be wrong gets one clear answer, and loses nothing."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from httpx import AsyncClient

from tests.conftest import LIVE_TOKENS, Account

PATH = "/v1/images/generations"
GOOD = {"prompt": "a cat", "model": "sandbox", "size": "256x256"}

RAW: list[tuple[bytes, int, str]] = [
    (b"", 400, "invalid_json"),
    (b"{", 400, "invalid_json"),
    (b"[]", 400, "invalid_json"),
    (b'{"prompt": NaN}', 400, "invalid_json"),
    (b'{"prompt": "a", "seed": 1e999}', 400, "invalid_json"),
    (b'{"prompt": "a", "seed": ' + b"1" * 5000 + b"}", 400, "invalid_json"),
    (b'{"a":' * 40 + b"1" + b"}" * 40, 400, "invalid_json"),
    (b"[" * 100_000, 400, "invalid_json"),
    (b'{"prompt": "a", "prompt": "b"}', 400, "duplicate_key"),
    (b'{"prompt": "a", "x": {"y": 1, "y": 2}}', 400, "duplicate_key"),
    (b'{"prompt": "\\ud800"}', 400, "invalid_unicode"),
    (b'{"prompt": "a\\u0000b"}', 400, "invalid_unicode"),
    (b'{"prompt": "\xff"}', 400, "invalid_encoding"),
    (b'\xef\xbb\xbf{"prompt": "a"}', 400, "invalid_encoding"),
]

FIELDS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"prompt": None}, 400, "invalid_type", "prompt"),
    ({"prompt": 4}, 400, "invalid_type", "prompt"),
    ({"prompt": ""}, 400, "invalid_value", "prompt"),
    ({"prompt": "x" * 40_000, "model": "gpt-image-2"}, 400, "string_too_long", "prompt"),
    ({"n": True}, 400, "invalid_type", "n"),
    ({"n": "4"}, 400, "invalid_type", "n"),
    ({"n": 0}, 400, "invalid_value", "n"),
    ({"n": 11}, 400, "invalid_value", "n"),
    ({"n": 1.5}, 400, "invalid_type", "n"),
    ({"size": "big"}, 400, "invalid_value", "size"),
    ({"size": "0x5"}, 400, "invalid_value", "size"),
    ({"size": "99999x99999"}, 400, "invalid_value", "size"),
    ({"size": 512}, 400, "invalid_type", "size"),
    ({"quality": "best"}, 400, "invalid_value", "quality"),
    ({"response_format": "jpg"}, 400, "invalid_value", "response_format"),
    ({"output_format": "bmp"}, 400, "invalid_value", "output_format"),
    ({"output_compression": 101}, 400, "invalid_value", "output_compression"),
    ({"seed": -1}, 400, "invalid_value", "seed"),
    ({"background": "transparent", "output_format": "jpeg"}, 400, "invalid_value", "background"),
    ({"stream": "yes"}, 400, "invalid_type", "stream"),
    ({"partial_images": 4}, 400, "invalid_value", "partial_images"),
    ({"api_base": "http://evil.example"}, 400, "unknown_parameter", "api_base"),
    ({"extra_headers": {}}, 400, "unknown_parameter", "extra_headers"),
    ({"model": "dall-e-33"}, 404, "model_not_found", "model"),
    ({"model": "nobody:dall-e-3"}, 404, "model_not_found", "model"),
    (
        {"strict": True, "model": "gpt-image-2", "size": "1024x1024", "seed": 3},
        400,
        "unsupported_value",
        "seed",
    ),
    ({"strict": True, "model": "gpt-image-1.5", "size": "512x512"}, 400, "invalid_value", "size"),
]


@pytest.mark.parametrize(("body", "status", "code"), RAW)
async def test_a_body_that_two_parsers_could_read_differently_is_refused(
    client: AsyncClient, account: Account, body: bytes, status: int, code: str
) -> None:
    response = await client.post(PATH, content=body, headers={"content-type": "application/json"})

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(("change", "status", "code", "param"), FIELDS)
async def test_a_field_that_is_wrong_is_named_and_never_echoed(
    client: AsyncClient, account: Account, change: dict[str, Any], status: int, code: str, param: str
) -> None:
    response = await client.post(PATH, json=GOOD | change)

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert response.headers["x-request-id"] in error["message"]
    assert "evil.example" not in response.text
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_refused_with_and_without_a_declared_length(
    client: AsyncClient, declared: bool
) -> None:
    body = b'{"prompt": "' + b"a" * (33 * 1024 * 1024) + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1024 * 1024):
            yield body[start : start + 1024 * 1024]

    try:
        response = await client.post(PATH, content=body if declared else pieces())
    except httpx.WriteError:
        return  # refused so early that the connection was closed while we were still sending

    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_missing_prompt_is_named(client: AsyncClient) -> None:
    response = await client.post(PATH, json={"model": "sandbox"})

    assert response.status_code == 400
    assert response.json()["error"] | {"message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": "prompt",
        "code": "missing_required_parameter",
    }


async def test_an_unknown_model_comes_with_a_suggestion(client: AsyncClient) -> None:
    response = await client.post(PATH, json=GOOD | {"model": "dalle-3"})

    assert "Did you mean" in response.json()["error"]["message"]
    assert "dall-e-3" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"authorization": ""}, 401, "missing_api_key"),
        ({"authorization": "Basic Zm9v"}, 401, "missing_api_key"),
        ({"authorization": "Bearer"}, 401, "missing_api_key"),
        ({"authorization": "Bearer sk-nonsense"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer igk_live_" + "a" * 49}, 401, "invalid_api_key"),
        ({"x-api-key": "another"}, 400, "ambiguous_credentials"),
        ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ({"content-encoding": "gzip"}, 415, "unsupported_encoding"),
        ({"x-long": "a" * 40_000}, 431, "header_too_large"),
    ],
)
async def test_headers_that_are_wrong_are_refused_before_anything_is_held(
    client: AsyncClient, account: Account, headers: dict[str, str], status: int, code: str
) -> None:
    response = await client.post(PATH, json=GOOD, headers=headers)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/images/generations/gen_" + "0" * 32, 404, "not_found"),
        ("GET", "/v1/images/generations/nonsense", 404, "not_found"),
        ("DELETE", "/v1/images/generations", 405, "method_not_allowed"),
        ("GET", "/v1/models/nonsense", 404, "model_not_found"),
        ("GET", "/media/1/2/3", 403, "invalid_signature"),
    ],
)
async def test_every_path_answers_in_json(
    client: AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert ("allow" in response.headers) == (status == 405)


async def test_slashes_too_many_are_tolerated(client: AsyncClient, base_url: str) -> None:
    response = await client.post(f"{base_url}//v1//images/generations/", json=GOOD)

    assert response.status_code == 200


async def test_the_caller_s_request_id_is_kept_when_it_is_harmless(client: AsyncClient) -> None:
    kept = await client.get("/healthz", headers={"x-request-id": "trace-1.2_3"})
    replaced = await client.get("/healthz", headers={"x-request-id": "<script>"})

    assert kept.headers["x-request-id"] == "trace-1.2_3"
    assert replaced.headers["x-request-id"].startswith("req_")
