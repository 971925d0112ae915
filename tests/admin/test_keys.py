"""Accounts and their keys: opened, closed, rotated, revoked, and what may be spent meanwhile."""

import asyncio
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import uuid4

from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.admin.conftest import Issue
from tests.conftest import LIVE_TOKENS, Account

PICTURE = {"prompt": "a cat on a roof", "model": "sandbox", "size": "256x256"}
WHY = {"reason": "a test"}
PATIENCE_S = 10.0


async def draw(base_url: str, key: str) -> Response:
    async with AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=30) as http:
        return await http.post("/v1/images/generations", json=PICTURE)


async def seconds_until_refused(base_url: str, key: str) -> float:
    """How long reads with the key are still answered."""
    began = monotonic()
    async with AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {key}"}) as http:
        while (status := (await http.get("/v1/models")).status_code) == 200:
            assert monotonic() - began < PATIENCE_S
            await asyncio.sleep(0.02)
    assert status == 401
    return monotonic() - began


async def new_key(admin: AsyncClient, account: Account, **more: Any) -> dict[str, Any]:
    response = await admin.post("/keys", json={"account": account.name, "env": "live", **more, **WHY})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def test_an_account_is_opened_once_and_found_by_id_and_name(admin: AsyncClient) -> None:
    name = f"shop {uuid4().hex}"

    made = await admin.post("/accounts", json={"name": name, **WHY})
    again = await admin.post("/accounts", json={"name": name, **WHY})

    assert made.status_code == 201
    assert (again.status_code, again.json()["code"]) == (409, "account_exists")
    account = made.json()
    assert (account["name"], account["closed_at"]) == (name, None)
    for who in (account["id"], name):
        assert (await admin.get(f"/accounts/{who}")).json() == account
    wallets = (await admin.get(f"/accounts/{account['id']}/wallets")).json()["data"]
    assert [(w["env"], w["posted_tokens"]) for w in wallets] == [("live", 0), ("test", 100_000_000)]


async def test_a_key_is_shown_once_and_spends(admin: AsyncClient, account: Account, base_url: str) -> None:
    made = await new_key(admin, account, team="art", app="shop")

    drawn = await draw(base_url, made["key"])

    assert drawn.status_code == 200
    assert (made["team"], made["app"], made["status"]) == ("art", "shop", "active")
    listed = await admin.get("/keys", params={"account": account.name})
    assert made["key"] not in listed.text
    assert made["id"] in [key["id"] for key in listed.json()["data"]]


async def test_a_closed_account_spends_nothing_and_gets_no_keys_and_no_tokens(
    admin: AsyncClient, account: Account, base_url: str
) -> None:
    assert (await draw(base_url, account.key)).status_code == 200
    before = await account.balance()

    closed = await admin.post(f"/accounts/{account.name}/close", json=WHY)
    drawn = await draw(base_url, account.key)

    assert closed.json()["closed_at"] is not None
    assert (drawn.status_code, await account.balance()) == (401, before)
    again = await admin.post(f"/accounts/{account.name}/close", json=WHY)
    assert (again.status_code, again.json()) == (200, closed.json())
    key = await admin.post("/keys", json={"account": account.name, "env": "live", **WHY})
    tokens = await admin.post(f"/accounts/{account.name}/wallets/live/top-up", json={"tokens": 5, **WHY})
    assert [key.json()["code"], tokens.json()["code"]] == ["account_closed"] * 2
    assert await account.balance() == before


async def test_the_old_key_works_until_the_overlap_ends_and_not_after(
    admin: AsyncClient, account: Account, base_url: str, engine: AsyncEngine
) -> None:
    old = await new_key(admin, account, team="art", environment="prod")

    rotated = await admin.post(f"/keys/{old['id']}/rotate", json={"overlap_s": 2, **WHY})
    both = [await draw(base_url, key) for key in (old["key"], rotated.json()["key"])]
    await seconds_until_refused(base_url, old["key"])
    after = [await draw(base_url, key) for key in (old["key"], rotated.json()["key"])]

    new = rotated.json()
    assert rotated.status_code == 201
    assert (new["rotated_from"], new["team"], new["environment"]) == (old["id"], "art", "prod")
    assert (new["expires_at"], new["account"], new["env"]) == (None, account.name, "live")
    assert (new["replaces"]["id"], new["replaces"]["status"]) == (old["id"], "active")
    assert [response.status_code for response in both] == [200, 200]
    assert [response.status_code for response in after] == [401, 200]
    async with engine.connect() as connection:
        now = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    assert datetime.fromisoformat(new["replaces"]["expires_at"]) <= now
    assert await account.balance() == (LIVE_TOKENS - 3 * 5_000, 0)


async def test_an_overlap_never_lengthens_a_key_and_nothing_is_rotated_twice_over(
    admin: AsyncClient, account: Account
) -> None:
    old = await new_key(admin, account)

    first = await admin.post(f"/keys/{old['id']}/rotate", json={"overlap_s": 0, **WHY})
    again = await admin.post(f"/keys/{old['id']}/rotate", json={"overlap_s": 900, **WHY})

    assert first.status_code == 201
    assert (again.status_code, again.json()["code"]) == (409, "key_not_active")
    short = await new_key(admin, account, expires_at="2099-01-31T00:00:00Z")
    for overlap_s, ends in ((60, 60), (900, 60)):
        rotated = await admin.post(f"/keys/{short['id']}/rotate", json={"overlap_s": overlap_s, **WHY})
        left = datetime.fromisoformat(rotated.json()["replaces"]["expires_at"]) - datetime.fromisoformat(
            rotated.json()["created_at"]
        )
        assert left.total_seconds() <= ends


async def test_limits_of_a_key_go_with_it(admin: AsyncClient, account: Account, engine: AsyncEngine) -> None:
    old = await new_key(admin, account)
    limit = text(
        "INSERT INTO limits (account_id, env, scope, scope_id, requests_per_min, day_tokens) "
        "SELECT account_id, env, 'key', id::text, 7, 9 FROM api_keys WHERE id = CAST(:id AS uuid)"
    )
    async with engine.begin() as tx:
        await tx.execute(limit, {"id": old["id"].removeprefix("key_")})

    new = (await admin.post(f"/keys/{old['id']}/rotate", json={"overlap_s": 0, **WHY})).json()

    found = text(
        "SELECT requests_per_min, day_tokens FROM limits JOIN api_keys k ON scope = 'key' AND scope_id = k.id::text "
        "WHERE k.id = CAST(:id AS uuid)"
    )
    async with engine.connect() as connection:
        rows = (await connection.execute(found, {"id": new["id"].removeprefix("key_")})).all()
    assert [tuple(row) for row in rows] == [(7, 9)]


async def test_a_revoked_key_spends_nothing_at_once_and_reads_nothing_soon(
    admin: AsyncClient, account: Account, base_url: str
) -> None:
    key = await new_key(admin, account)
    assert (await draw(base_url, key["key"])).status_code == 200
    before = await account.balance()

    revoked = await admin.post(f"/keys/{key['id']}/revoke", json=WHY)
    drawn = await draw(base_url, key["key"])
    read_s = await seconds_until_refused(base_url, key["key"])

    assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    assert drawn.status_code == 401
    assert await account.balance() == before
    assert read_s < 2
    again = await admin.post(f"/keys/{key['id']}/revoke", json=WHY)
    assert (again.status_code, again.json()) == (200, revoked.json())


async def test_a_revoked_operator_changes_nothing_any_more(
    admin: AsyncClient, issue: Issue, account: Account
) -> None:
    other = await issue("keys:write", "read")
    assert (await other.get("/accounts")).status_code == 200

    revoked = await admin.post(f"/operators/{other.headers['x-operator']}/revoke", json=WHY)

    assert revoked.json()["status"] == "revoked"
    key = await other.post("/keys", json={"account": account.name, "env": "live", **WHY})
    read = await other.get("/accounts")
    assert [key.status_code, read.status_code] == [401, 401]


async def test_keys_are_listed_by_account_environment_and_status(
    admin: AsyncClient, account: Account, services: Services
) -> None:
    ids = {status: (await new_key(admin, account, team=status))["id"] for status in ("revoked", "expired")}
    await admin.post(f"/keys/{ids['revoked']}/revoke", json=WHY)
    await admin.post(f"/keys/{ids['expired']}/rotate", json={"overlap_s": 0, **WHY})

    async def listed(**narrow: str) -> list[str]:
        answer = await admin.get("/keys", params={"account": account.name, **narrow})
        return [key["id"] for key in answer.json()["data"]]

    assert await listed(status="revoked") == [ids["revoked"]]
    assert await listed(status="expired") == [ids["expired"]]
    assert len(await listed(status="active")) == 3
    assert len(await listed(env="test")) == 1
    assert (await admin.get("/keys", params={"account": "nobody at all"})).status_code == 404
