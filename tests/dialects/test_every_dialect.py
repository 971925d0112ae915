"""What holds in all dialects alike: addresses, parameters and their receipts, and errors in the dialect's own shape."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from httpx import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from imagegate.admin import limits
from imagegate.identity.audit import Actor
from imagegate.identity.limit_rows import Scope
from imagegate.load import Load
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.media.pictures import encoded, picture

Serve = Callable[[Services], Awaitable[str]]
PICTURE = "data:image/png;base64," + base64.b64encode(encoded("png", picture("RGB", 64, 64))).decode()
OPENAI_KEYS = {"message", "type", "param", "code"}


@dataclass(frozen=True)
class Dialect:
    """path: without a prefix. said: beside the fields that are common. keys: of an error."""

    path: str
    said: dict[str, str]
    keys: frozenset[str] = frozenset(OPENAI_KEYS)

    def body(self, **more: Any) -> dict[str, Any]:
        return {"prompt": "a heron", "model": "sandbox:sandbox", "size": "256x256"} | self.said | more


DIALECTS = {
    "openai": Dialect("/images/generations", {}),
    "openai edits": Dialect("/images/edits", {"image": PICTURE}),
    "openai variations": Dialect("/images/variations", {"image": PICTURE}),
    "langbase": Dialect("/images", {}, frozenset(OPENAI_KEYS | {"status"})),
    "luntrex": Dialect("/images/generate", {}, frozenset()),
    "lunos": Dialect("/image/generations", {}),
    "lunos edits": Dialect("/image/edits", {"image": PICTURE}),
    "lunos variations": Dialect("/image/variations", {"image": PICTURE}),
}
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


def fault(response: Response, dialect: Dialect, status: int) -> dict[str, Any]:
    """The error, once its shape is that of the dialect."""
    told = response.json()
    assert response.status_code == status, told
    if not dialect.keys:
        assert set(told) == {"error", "status"}
        assert (type(told["error"]), told["status"]) == (str, status)
        return {"message": told["error"]}
    assert set(told) == {"error"}
    assert set(told["error"]) == dialect.keys
    assert told["error"].get("status", status) == status
    return cast(dict[str, Any], told["error"])


@every_dialect
async def test_its_routes_are_found_under_every_prefix_and_with_stray_slashes(
    client: AsyncClient, dialect: Dialect
) -> None:
    whole = dialect.path
    paths = [f"/v1{whole}", f"/openai/v1{whole}", f"/api/v1{whole}", f"/v1{whole}/"]
    paths += [f"/api//v1{whole.replace('/', '//')}//?dry_run=1"]

    asked = [
        await client.post(path, params={"dryRun": "true"} if "?" not in path else None, json=dialect.body())
        for path in paths
    ]

    assert [response.status_code for response in asked] == [200] * len(paths), asked[-1].text
    assert {response.json()["hold_tokens"] for response in asked} == {asked[0].json()["hold_tokens"]}


@every_dialect
async def test_every_parameter_has_its_receipt_and_an_unknown_one_is_reported(
    client: AsyncClient, dialect: Dialect
) -> None:
    said = dialect.body(
        quality="hd",
        style="vivid",
        output_format="webp",
        output_compression=60,
        background="opaque",
        seed=7,
        steps=20,
        guidance=4.5,
        negative_prompt="fish",
        thinking="high",
        prompt_enhancement="off",
        user="u-1",
        foo="bar",
    )

    response = await client.post("/v1" + dialect.path, json=said)

    told = response.json()
    assert response.status_code == 200, told
    receipts = told["metadata"]["parameters"]
    assert set(said) - {"prompt", "model", "n"} <= set(receipts) | {"user"}
    assert receipts["foo"]["treatment"] == "ignored"
    assert {receipt["treatment"] for receipt in receipts.values()} <= {
        "passed", "renamed", "converted", "emulated", "ignored"
    }  # fmt: skip


@every_dialect
async def test_strict_refuses_what_would_be_ignored_before_money_moves(
    client: AsyncClient, account: Account, dialect: Dialect
) -> None:
    response = await client.post("/v1" + dialect.path, json=dialect.body(foo="bar", strict=True))

    error = fault(response, dialect, 400)
    assert "foo" in error["message"]
    assert error.get("code", "unknown_parameter") == "unknown_parameter"
    assert await account.balance() == (LIVE_TOKENS, 0)


@every_dialect
async def test_thinking_that_the_model_lacks_lists_what_it_has(client: AsyncClient, dialect: Dialect) -> None:
    known = (await client.get("/v1/models/sandbox?schema=true")).json()["parameters"]["thinking"]["enum"]

    response = await client.post("/v1" + dialect.path, json=dialect.body(reasoning_effort="boundless"))

    error = fault(response, dialect, 400)
    assert all(word in error["message"] for word in known)
    assert error.get("code", "unsupported_value") == "unsupported_value"


@every_dialect
async def test_what_is_refused_before_the_body_is_read_has_the_dialect_s_shape(
    client: AsyncClient, base_url: str, dialect: Dialect
) -> None:
    path = "/v1" + dialect.path

    plain = await client.post(path, content=b"a heron", headers={"content-type": "text/plain"})
    packed = await client.post(path, content=b"x", headers={"content-encoding": "gzip"})
    wrong = await client.put(path, json={})
    broken = await client.post(path, content=b"{", headers={"content-type": "application/json"})
    unknown = await client.post(path, json=dialect.body(model="no-such-model"))
    heavy = await client.post(path, json={}, headers={"x-heavy": "x" * 40_000})
    async with AsyncClient(base_url=base_url) as nobody:
        keyless = await nobody.post(path, json=dialect.body())

    fault(plain, dialect, 415)
    fault(packed, dialect, 415)
    fault(wrong, dialect, 405)
    assert "POST" in wrong.headers["allow"]
    fault(broken, dialect, 400)
    assert "no-such-model" in fault(unknown, dialect, 404)["message"]
    fault(heavy, dialect, 431)
    fault(keyless, dialect, 401)


async def test_outages_bugs_and_bodies_that_are_too_large_have_the_dialect_s_shape(
    services: Services, account: Account, serve: Serve
) -> None:
    few = services.settings.model_copy(update={"max_body_bytes": 10})
    none = Load(services.settings.model_copy(update={"max_in_flight": 0}))
    broken = replace(services, prices=cast(Any, None))
    gateways = {413: replace(services, settings=few), 503: replace(services, load=none), 500: broken}

    asked: list[tuple[Response, Dialect, int]] = []
    with capture_logs() as logged:
        for status, gateway in gateways.items():
            headers = {"authorization": f"Bearer {account.key}"}
            async with AsyncClient(base_url=await serve(gateway), headers=headers, timeout=30) as http:
                for dialect in DIALECTS.values():
                    response = await http.post("/v1" + dialect.path, json=dialect.body())
                    asked.append((response, dialect, status))

    for response, dialect, status in asked:
        fault(response, dialect, status)
        assert response.headers["x-should-retry"] == ("true" if status == 503 else "false")
    bugs = [entry["event"] for entry in logged if entry["log_level"] == "error"]
    assert bugs == ["unhandled"] * len(DIALECTS)
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_limit_that_is_reached_has_the_dialect_s_shape(
    client: AsyncClient, account: Account, engine: AsyncEngine
) -> None:
    async with engine.begin() as tx:
        scope, why = Scope("account", ""), Actor("tests", "a test")
        await limits.set_limits(tx, account.name, "live", scope, {"requests_per_min": 1}, why)
    first = await client.post("/v1/images/generations?dryRun=true", json=DIALECTS["openai"].body())

    for dialect in DIALECTS.values():
        response = await client.post(f"/v1{dialect.path}", json=dialect.body())

        assert first.status_code == 200, first.text
        fault(response, dialect, 429)
        assert int(response.headers["retry-after"]) > 0
