"""The audit log: one entry for each write, with who, why and the request's id, and never a secret."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.conftest import Account

WHY = {"reason": "the audit's test"}


async def post(admin: AsyncClient, path: str, request_id: str, **body: Any) -> dict[str, Any]:
    response = await admin.post(path, json={**body, **WHY}, headers={"x-request-id": request_id})
    assert response.is_success, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_every_write_leaves_one_entry_that_names_its_request(
    admin: AsyncClient, engine: AsyncEngine
) -> None:
    name, began = f"audited-{uuid4().hex}", datetime.now(UTC)
    made = await post(admin, "/accounts", "r.1", name=name)
    key = await post(admin, "/keys", "r.2", account=name, env="live", team="art")
    new = await post(admin, f"/keys/{key['id']}/rotate", "r.3", overlap_s=60)
    await post(admin, f"/keys/{key['id']}/revoke", "r.4")
    await post(admin, f"/accounts/{name}/wallets/live/top-up", "r.5", tokens=5)
    await post(admin, f"/accounts/{name}/wallets/live/adjust", "r.6", tokens=-2)
    issued = await post(admin, "/operators", "r.7", name=name, scopes=["read"])
    await post(admin, f"/operators/{issued['id']}/revoke", "r.8")
    await post(admin, f"/accounts/{name}/close", "r.9")

    me = f"operator:{admin.headers['x-name']}"
    answer = await admin.get("/audit", params={"actor": me, "since": began.isoformat()})

    entries = list(reversed(answer.json()["data"]))
    assert [(entry["action"], entry["target"], entry["request_id"]) for entry in entries] == [
        ("accounts.create", made["id"], "r.1"),
        ("keys.create", key["id"], "r.2"),
        ("keys.rotate", new["id"], "r.3"),
        ("keys.revoke", key["id"], "r.4"),
        ("wallets.top_up", made["id"], "r.5"),
        ("wallets.adjust", made["id"], "r.6"),
        ("operators.create", issued["id"], "r.7"),
        ("operators.revoke", issued["id"], "r.8"),
        ("accounts.close", made["id"], "r.9"),
    ]
    assert {entry["reason"] for entry in entries} == {WHY["reason"]}
    assert entries[2]["detail"]["replaces"] == key["id"]
    own = await admin.get("/audit", params={"account": made["id"], "action": "keys.create"})
    assert [entry["target"] for entry in own.json()["data"]] == [key["id"]]
    async with engine.connect() as connection:
        kept = (
            await connection.execute(text("SELECT string_agg(a::text, ' ') FROM audit_log a"))
        ).scalar_one()
    for secret in (key["key"], new["key"], issued["key"], admin.headers["authorization"].split()[1]):
        assert secret not in kept
        assert secret[4:40] not in kept


async def test_what_is_refused_or_changes_nothing_leaves_no_entry(
    admin: AsyncClient, account: Account
) -> None:
    low = await admin.post(f"/accounts/{account.name}/wallets/live/adjust", json={"tokens": -(2**52), **WHY})
    closed = [await admin.post(f"/accounts/{account.name}/close", json=WHY) for _ in range(2)]

    assert [low.status_code, *(response.status_code for response in closed)] == [409, 200, 200]
    entries = (await admin.get("/audit", params={"account": account.name})).json()["data"]
    assert [entry["action"] for entry in entries] == ["accounts.close"]
