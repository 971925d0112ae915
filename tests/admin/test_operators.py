"""Operators who issue and revoke operators' keys, and never more than they hold."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from httpx import AsyncClient, Response

from tests.admin.conftest import Issue

SOON = datetime.now(UTC) + timedelta(days=2)


async def create(http: AsyncClient, scopes: list[str], **more: Any) -> Response:
    body = {"name": f"issued-{uuid4().hex[:12]}", "scopes": scopes, "reason": "a test", **more}
    return await http.post("/operators", json=body)


async def test_an_operator_issues_keys_within_its_own_scopes(issue: Issue) -> None:
    billing = await issue("read", "keys:write", "wallets:write")

    made = await create(billing, ["read", "wallets:write"])
    beyond = await create(billing, ["read", "prices:write"])

    assert (made.status_code, made.json()["scopes"]) == (201, ["read", "wallets:write"])
    assert (beyond.status_code, beyond.json()["code"]) == (403, "insufficient_scope")
    key = {"authorization": f"Bearer {made.json()['key']}"}
    assert (await billing.get("/accounts", headers=key)).status_code == 200
    listed = await billing.get("/operators")
    assert made.json()["key"] not in listed.text
    assert listed.json()["data"][0]["created_by"] == f"operator:{billing.headers['x-name']}"


async def test_a_key_outlives_its_issuer_never(issue: Issue) -> None:
    short = await issue("read", "keys:write", expires_at=SOON)

    silent = await create(short, ["read"])
    longer = await create(short, ["read"], expires_at=(SOON + timedelta(days=1)).isoformat())

    assert datetime.fromisoformat(silent.json()["expires_at"]) == SOON.replace(microsecond=0)
    assert (longer.status_code, longer.json()["param"]) == (400, "expires_at")


async def test_nobody_revokes_a_key_that_may_do_more(issue: Issue, admin: AsyncClient) -> None:
    lesser = await issue("read", "keys:write")

    refused = await lesser.post(f"/operators/{admin.headers['x-operator']}/revoke", json={"reason": "envy"})
    itself = await lesser.post(f"/operators/{lesser.headers['x-operator']}/revoke", json={"reason": "done"})

    assert (refused.status_code, itself.status_code) == (403, 200)
    assert (await admin.get("/accounts")).status_code == 200
    assert (await lesser.get("/accounts")).status_code == 401


async def test_a_name_belongs_to_one_usable_key(admin: AsyncClient) -> None:
    name = f"billing-{uuid4().hex}"
    first = await create(admin, ["read"], name=name)

    second = await create(admin, ["read"], name=name)
    await admin.post(f"/operators/{first.json()['id']}/revoke", json={"reason": "lost"})
    third = await create(admin, ["read"], name=name)

    assert [r.status_code for r in (first, second, third)] == [201, 409, 201]


async def test_scopes_are_known_words_and_one_at_least(admin: AsyncClient) -> None:
    for scopes in ([], ["everything"], ["read", "admin"], "read"):
        response = await create(admin, scopes)  # type: ignore[arg-type]
        assert response.status_code == 400
    unknown = await admin.post("/operators/opk_0/revoke", json={"reason": "a test"})
    assert unknown.status_code == 404
