"""What is wrong on one route is wrong on all: every route that makes images answers the table of errors alike."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient, Response

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, open_account
from tests.line.test_bad_input import RAW
from tests.line.test_edits import PNG, data_url

LANGBASE = "/v1/images"
LUNTREX = "/api/v1/images/generate"
SANDBOX = {"prompt": "a boat", "model": "sandbox", "size": "256x256"}
PICTURE = {"image": data_url(PNG)}
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/images/edits": SANDBOX | PICTURE,
    "/openai/v1/images/edits": SANDBOX | PICTURE,
    "/v1/images/variations": SANDBOX | PICTURE,
    "/v1/image/generations": SANDBOX,
    "/v1/image/edits": SANDBOX | PICTURE,
    "/v1/image/variations": SANDBOX | PICTURE,
    LANGBASE: SANDBOX | {"model": "sandbox:sandbox"},
    LUNTREX: SANDBOX,
}
FIELDS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"prompt": 4}, 400, "invalid_type", "prompt"),
    ({"prompt": "x" * 100_001}, 400, "string_too_long", "prompt"),
    ({"n": True}, 400, "invalid_type", "n"),
    ({"n": "4"}, 400, "invalid_type", "n"),
    ({"n": 11}, 400, "invalid_value", "n"),
    ({"n": 1.5}, 400, "invalid_type", "n"),
    ({"size": "big"}, 400, "invalid_value", "size"),
    ({"size": "99999x99999"}, 400, "invalid_value", "size"),
    ({"api_base": "http://evil.example"}, 400, "unknown_parameter", "api_base"),
    ({"callback": "http://evil.example"}, 400, "unknown_parameter", "callback"),
    ({"extra_headers": {}}, 400, "unknown_parameter", "extra_headers"),
    ({"model": "dall-e-33"}, 404, "model_not_found", "model"),
    ({"model": "nobody:dall-e-3"}, 404, "model_not_found", "model"),
]
HEADERS: list[tuple[dict[str, str], int, str]] = [
    ({"authorization": ""}, 401, "missing_api_key"),
    ({"authorization": "Bearer sk-nonsense"}, 401, "invalid_api_key"),
    ({"x-api-key": "another"}, 400, "ambiguous_credentials"),
    ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ({"content-encoding": "gzip"}, 415, "unsupported_encoding"),
    ({"idempotency-key": "a b"}, 400, "invalid_idempotency_key"),
    ({"x-app-id": "a" * 300}, 400, "invalid_value"),
    ({"x-long": "a" * 40_000}, 431, "header_too_large"),
]
TYPES = {401: "authentication_error", 402: "insufficient_quota"}


def check(response: Response, path: str, status: int, code: str, param: str | None = None) -> None:
    """luntrex tells `error` as a text and the status, Langbase OpenAI's four keys and the status, others four keys."""
    assert response.status_code == status, (path, code, response.text)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "evil.example" not in response.text
    body = response.json()
    if path == LUNTREX:
        assert (set(body), body["status"]) == ({"error", "status"}, status)
        return
    error = body["error"]
    assert set(error) - {"status"} == {"message", "type", "param", "code"}
    assert ("status" in error) == (path == LANGBASE)
    assert (error["code"], error["type"]) == (code, TYPES.get(status, "invalid_request_error"))
    assert param is None or error["param"] == param
    assert response.headers["x-request-id"] in error["message"]
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ROUTES)
async def test_a_body_that_two_parsers_could_read_differently_is_refused_on_every_route(
    client: AsyncClient, account: Account, path: str
) -> None:
    for body, status, code in RAW:
        response = await client.post(path, content=body, headers={"content-type": "application/json"})
        check(response, path, status, code)

    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_field_that_is_wrong_is_named_on_every_route(
    client: AsyncClient, account: Account, path: str
) -> None:
    for change, status, code, param in FIELDS:
        check(await client.post(path, json=ROUTES[path] | change), path, status, code, param)

    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("path", ROUTES)
async def test_headers_that_are_wrong_are_refused_on_every_route(
    client: AsyncClient, account: Account, path: str
) -> None:
    for headers, status, code in HEADERS:
        check(await client.post(path, json=ROUTES[path], headers=headers), path, status, code)

    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_wrong_method_is_told_the_right_one_on_every_route(client: AsyncClient, path: str) -> None:
    response = await client.delete(path)

    check(response, path, 405, "method_not_allowed")
    assert "POST" in response.headers["allow"]


@pytest.mark.parametrize("path", ROUTES)
async def test_a_body_that_is_too_large_or_too_slow_is_refused_on_every_route(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]], path: str
) -> None:
    settings = services.settings.model_copy(update={"max_body_bytes": 2048, "body_timeout_s": 0.2})
    url = await serve(replace(services, settings=settings))

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"prompt": '
        await asyncio.sleep(0.5)

    async with AsyncClient(base_url=url, headers={"x-api-key": account.key}, timeout=30) as client:
        large = await client.post(path, json=ROUTES[path] | {"user": "a" * 3000})
        slow = await client.post(path, content=pieces(), headers={"content-type": "application/json"})

    check(large, path, 413, "request_too_large")
    assert slow.status_code == 408
    assert slow.headers["x-should-retry"] == "true"
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("path", ROUTES)
async def test_an_empty_wallet_makes_nothing_on_any_route(
    services: Services, base_url: str, account: Account, path: str
) -> None:
    poor = await open_account(services, account.engine, 0)
    model = "openai:openai/gpt-image-2.5-flare"
    body = ROUTES[path] | {"model": model, "size": "1024x1024"}

    async with AsyncClient(base_url=base_url, headers={"x-api-key": poor.key}, timeout=30) as client:
        response = await client.post(path, json=body)

    check(response, path, 403 if path == LUNTREX else 402, "insufficient_quota")
    assert await poor.balance() == (0, 0)
