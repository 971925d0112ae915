"""Who gets in, what they may, and what they are told when they may not."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from imagegate.app import create_app
from imagegate.db.base import open_engine
from imagegate.identity import operators
from imagegate.services import Services
from imagegate.settings import Settings
from tests.admin.conftest import Issue
from tests.conftest import Account

WRITES = {
    "/accounts": ("keys:write", {"name": "never"}),
    "/accounts/nobody/close": ("keys:write", {}),
    "/keys": ("keys:write", {"account": "nobody", "env": "live"}),
    "/keys/key_0/rotate": ("keys:write", {"overlap_s": 1}),
    "/keys/key_0/revoke": ("keys:write", {}),
    "/accounts/nobody/wallets/live/top-up": ("wallets:write", {"tokens": 5}),
    "/accounts/nobody/wallets/live/adjust": ("wallets:write", {"tokens": 5}),
    "/operators": ("keys:write", {"name": "never", "scopes": ["read"]}),
    "/operators/opk_0/revoke": ("keys:write", {}),
    "/accounts/nobody/limits/live": ("keys:write", {"day_tokens": 5}),
    "/accounts/nobody/limits/live/clear": ("keys:write", {}),
    "/allowances": ("wallets:write", {"account": "nobody", "env": "live", "period": "day", "tokens": 5}),
    "/allowances/alw_0/end": ("wallets:write", {}),
    "/webhooks/secret": ("keys:write", {"account": "nobody"}),
    "/webhooks/secret/rotate": ("keys:write", {"account": "nobody"}),
    "/webhooks/endpoints": ("keys:write", {"account": "nobody", "env": "live", "url": None}),
    "/webhooks/msg_0/redeliver": ("keys:write", {}),
    "/webhooks/redeliver": ("keys:write", {"generation": "gen_0"}),
    "/models/acme/none/disable": ("models:write", {}),
    "/models/acme/none/enable": ("models:write", {}),
    "/models/acme/none/redirect": ("models:write", {"target": "sandbox"}),
    "/models/acme/none/alias": ("models:write", {"alias": "never"}),
    "/models/acme/none/unalias": ("models:write", {}),
    "/providers/nobody/keys": ("providers:write", {"name": "never", "key": "never"}),
    "/providers/keys/pvk_0/revoke": ("providers:write", {}),
    "/providers/nobody/enable": ("providers:write", {}),
    "/providers/nobody/disable": ("providers:write", {}),
    "/prices": ("prices:write", {"model": "acme/none", "tokens": 5}),
    "/prices/import": ("prices:write", {"content": ""}),
    "/prices/acme/none/end": ("prices:write", {}),
}
QUESTIONS = (
    "/admin/v1/prices/preview",
    "/admin/v1/providers/{provider}/test",
    "/admin/v1/webhooks/test",
)
READS = (
    "/accounts",
    "/accounts/nobody",
    "/accounts/nobody/limits/live",
    "/accounts/nobody/wallets",
    "/allowances?account=nobody",
    "/audit",
    "/keys",
    "/models",
    "/models/rules",
    "/models/acme/none",
    "/operators",
    "/prices",
    "/prices/export",
    "/prices/check",
    "/prices/acme/none",
    "/providers",
    "/providers/nobody",
    "/webhooks?account=nobody",
    "/webhooks/endpoints?account=nobody",
)


def problem_of(response: Response) -> dict[str, Any]:
    """The problem that an answer holds, which has all seven members and says what its headers say."""
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "code", "param", "request_id"}
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["type"] == "about:blank"
    return problem


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


@pytest.mark.parametrize("path", READS)
async def test_reading_needs_a_key_with_the_scope(path: str, issue: Issue, base_url: str) -> None:
    blind = await issue("keys:write", "wallets:write", "prices:write")

    refused = problem_of(await blind.get(path))
    nobody = problem_of(await blind.get(path, headers={"authorization": ""}))

    assert (refused["status"], refused["code"]) == (403, "insufficient_scope")
    assert "read" in refused["detail"]
    assert (nobody["status"], nobody["code"]) == (401, "missing_api_key")


@pytest.mark.parametrize("path", WRITES)
async def test_writing_needs_its_own_scope(path: str, issue: Issue, engine: AsyncEngine) -> None:
    scope, body = WRITES[path]
    others = [known for known in operators.SCOPES if known != scope]
    without, having = await issue(*others), await issue(scope)  # type: ignore[arg-type]
    before = await count(engine, "audit_log")

    refused = problem_of(await without.post(path, json={**body, "reason": "a test"}))
    unreasoned = problem_of(await having.post(path, json=body))

    assert (refused["status"], refused["code"]) == (403, "insufficient_scope")
    assert scope in refused["detail"]
    assert (unreasoned["status"], unreasoned["param"]) == (400, "reason")
    assert await count(engine, "audit_log") == before


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_an_account_key_finds_nothing_here(header: str, base_url: str, account: Account) -> None:
    value = f"Bearer {account.key}" if header == "authorization" else account.key
    async with AsyncClient(base_url=base_url, headers={header: value}) as http:
        read = problem_of(await http.get("/admin/v1/accounts"))
        write = problem_of(await http.post("/admin/v1/accounts", json={"name": "a", "reason": "b"}))

    assert [(p["status"], p["code"]) for p in (read, write)] == [(404, "not_found")] * 2


async def test_an_operator_key_opens_nothing_that_callers_use(admin: AsyncClient, base_url: str) -> None:
    key = admin.headers["authorization"]
    async with AsyncClient(base_url=base_url, headers={"authorization": key}) as http:
        response = await http.post("/v1/images/generations", json={"prompt": "a cat"})

    assert response.status_code == 401


@pytest.mark.parametrize(
    "key", ["igo_", "igo_" + "0" * 49, "something-else", pytest.param(operators.mint(), id="well-formed")]
)
async def test_a_key_that_was_never_issued_is_refused(key: str, admin: AsyncClient) -> None:
    problem = problem_of(await admin.get("/accounts", headers={"authorization": f"Bearer {key}"}))

    assert (problem["status"], problem["code"]) == (401, "invalid_api_key")


async def test_an_expired_operator_key_is_refused(issue: Issue, engine: AsyncEngine) -> None:
    short = await issue("read", expires_at=datetime.now(UTC) + timedelta(days=1))
    assert (await short.get("/accounts")).status_code == 200

    async with engine.begin() as tx:
        await tx.execute(
            text("UPDATE operator_keys SET expires_at = now() WHERE name = :name"),
            {"name": short.headers["x-name"]},
        )

    assert problem_of(await short.get("/accounts"))["status"] == 401


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/nothing/here", None, 404, "not_found"),
        ("GET", "", None, 404, "not_found"),
        ("DELETE", "/accounts", None, 405, "method_not_allowed"),
        ("POST", "/accounts", b"{", 400, "invalid_json"),
        ("POST", "/accounts", b'{"name": "a", "name": "b", "reason": "c"}', 400, "duplicate_key"),
        ("POST", "/accounts", b'{"name": "a\\u0000", "reason": "c"}', 400, "invalid_unicode"),
        ("POST", "/accounts", b'{"name": "a"}', 400, "missing_required_parameter"),
        ("POST", "/accounts", b'{"name": "a", "reason": "  "}', 400, "invalid_value"),
        ("POST", "/accounts", b'{"name": 5, "reason": "c"}', 400, "invalid_type"),
        ("POST", "/accounts", b'{"name": "a", "reason": "c", "admin": true}', 400, "unknown_parameter"),
        ("POST", "/accounts", b'{"name": "\\n", "reason": "c"}', 400, "invalid_value"),
        ("POST", "/accounts", b" " * (1024 * 1024 + 1), 413, "request_too_large"),
        ("POST", "/accounts?dry=1", b'{"name": "a", "reason": "c"}', 400, "unknown_parameter"),
        ("GET", "/accounts?limit=0", None, 400, "invalid_value"),
        ("GET", "/accounts?limit=201", None, 400, "invalid_value"),
        ("GET", "/accounts?limit=1&limit=2", None, 400, "duplicate_key"),
        ("GET", "/accounts?acount=x", None, 400, "unknown_parameter"),
        ("GET", "/accounts?after=x", None, 400, "invalid_value"),
        ("GET", "/accounts?after=%FF%00", None, 400, "invalid_unicode"),
        ("GET", "/accounts/a%00b", None, 404, "not_found"),
        ("GET", "/audit?since=2027-01-31", None, 400, "invalid_value"),
        ("GET", "/audit?since=1700000000000000000", None, 400, "invalid_value"),
        ("GET", "/audit?since=9999-12-31T23:59:59-12:00", None, 400, "invalid_value"),
    ],
)
async def test_every_error_is_a_problem(
    admin: AsyncClient, method: str, path: str, content: bytes | None, status: int, code: str
) -> None:
    response = await admin.request(method, path, content=content)

    problem = problem_of(response)
    assert (problem["status"], problem["code"]) == (status, code)
    assert response.headers["x-should-retry"] == "false"
    if status == 405:
        assert response.headers["allow"] == "GET, POST"


async def test_a_form_is_no_json(admin: AsyncClient) -> None:
    problem = problem_of(await admin.post("/accounts", data={"name": "a", "reason": "b"}))

    assert (problem["status"], problem["code"]) == (415, "unsupported_media_type")


async def test_a_bug_is_a_problem_too(
    services: Services, serve: Callable[[Services], Awaitable[str]], admin: AsyncClient
) -> None:
    broken: Any = None
    url = await serve(replace(services, keyring=broken))

    with capture_logs() as logged:
        problem = problem_of(await admin.get(f"{url}/admin/v1/accounts"))

    assert (problem["status"], problem["code"]) == (500, "internal_error")
    assert [line["event"] for line in logged] == ["unhandled"]


async def test_without_a_database_the_answer_is_to_wait(
    services: Services, serve: Callable[[Services], Awaitable[str]], admin: AsyncClient
) -> None:
    nowhere = open_engine("postgresql://a:b@127.0.0.1:1/none", services.settings)
    url = await serve(replace(services, engine=nowhere))

    problem = problem_of(await admin.get(f"{url}/admin/v1/accounts"))

    await nowhere.dispose()
    assert (problem["status"], problem["code"]) == (503, "billing_unavailable")


async def test_errors_of_other_routes_keep_their_shape(base_url: str) -> None:
    async with AsyncClient(base_url=base_url) as http:
        elsewhere = await http.get("/admin/v10/accounts")
        callers = await http.get("/v1/nothing")

    for response in (elsewhere, callers):
        assert response.headers["content-type"] == "application/json"
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_openapi_tells_of_the_operator_key_wherever_it_is_needed() -> None:
    schema = create_app(Settings(secret=SecretStr("x" * 40))).api.openapi()

    ours = {path: verbs for path, verbs in schema["paths"].items() if path.startswith("/admin/v1")}
    assert len(ours) >= 12
    for path, verbs in ours.items():
        for method, operation in verbs.items():
            assert operation["security"] == [{"operator": []}]
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            if method != "get":
                body = operation["requestBody"]["content"]["application/json"]["schema"]
                assert ("reason" in body.get("required", ())) is (path not in QUESTIONS)
                assert body["additionalProperties"] is False
    assert schema["components"]["securitySchemes"]["operator"]["scheme"] == "bearer"
