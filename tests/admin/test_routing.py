"""Routing policies of keys over the admin API."""

import asyncio
from time import monotonic

from httpx import AsyncClient

from imagegate.routing.policy import POLICIES
from tests.admin.conftest import Issue
from tests.conftest import Account

WHY = {"reason": "a contract"}
PATIENCE_S = 10.0


async def test_a_policy_is_set_shown_and_taken_away(admin: AsyncClient, account: Account) -> None:
    key, other = (await admin.get("/keys", params={"account": account.name})).json()["data"]

    told = [await admin.post(f"/keys/{key['id']}/routing", json={"routing": p, **WHY}) for p in POLICIES]
    listed = (await admin.get("/keys", params={"account": account.name})).json()["data"]
    gone = await admin.post(f"/keys/{key['id']}/routing", json={"routing": None, **WHY})

    assert [(r.status_code, r.json()["routing"]) for r in told] == [(200, policy) for policy in POLICIES]
    assert {k["id"]: k["routing"] for k in listed} == {key["id"]: POLICIES[-1], other["id"]: None}
    assert (gone.status_code, gone.json()["routing"]) == (200, None)


async def test_the_audit_log_tells_the_policy_and_the_one_before(
    admin: AsyncClient, account: Account
) -> None:
    (key, *_) = (await admin.get("/keys", params={"account": account.name})).json()["data"]

    for policy in ("best", None):
        await admin.post(f"/keys/{key['id']}/routing", json={"routing": policy, **WHY})

    log = (await admin.get("/audit", params={"account": account.name})).json()["data"]
    said = [(e["action"], e["reason"], e["detail"]["routing"], e["detail"]["before"]) for e in log[:2]]
    action = "keys.set_routing"
    assert said == [(action, "a contract", None, "best"), (action, "a contract", "best", None)]


async def test_it_needs_the_scope_a_policy_that_there_is_and_a_key_to_have_it(
    admin: AsyncClient, issue: Issue, account: Account
) -> None:
    reader = await issue("read")
    (key, *_) = (await admin.get("/keys", params={"account": account.name})).json()["data"]
    path = f"/keys/{key['id']}/routing"

    refused = await reader.post(path, json={"routing": "best", **WHY})
    wrong = await admin.post(path, json={"routing": "default", **WHY})
    silent = await admin.post(path, json=WHY)
    no_key = await admin.post("/keys/key_0/routing", json={"routing": "best", **WHY})

    statuses = [r.status_code for r in (refused, wrong, silent, no_key)]
    assert statuses[0] in (401, 403, 404)
    assert statuses[1:] == [400, 400, 404]
    (still, *_) = (await admin.get("/keys", params={"account": account.name})).json()["data"]
    assert still["routing"] is None


async def test_a_key_that_takes_another_s_place_keeps_its_policies(
    admin: AsyncClient, account: Account
) -> None:
    (key, *_) = (await admin.get("/keys", params={"account": account.name})).json()["data"]
    await admin.post(f"/keys/{key['id']}/routing", json={"routing": "fastest", **WHY})
    await admin.post(f"/keys/{key['id']}/moderation", json={"moderation": "flag", **WHY})

    new = (await admin.post(f"/keys/{key['id']}/rotate", json={"overlap_s": 0, **WHY})).json()

    assert (new["rotated_from"], new["routing"], new["moderation"]) == (key["id"], "fastest", "flag")


async def test_a_change_is_in_force_within_two_seconds(
    admin: AsyncClient, account: Account, client: AsyncClient
) -> None:
    keys = (await admin.get("/keys", params={"account": account.name, "env": "live"})).json()["data"]

    async def model() -> str:
        told = await client.post("/v1/images/generations?dryRun=true", json={"prompt": "a fox"})
        name: str = told.json()["model"]
        return name

    before = await model()
    await admin.post(f"/keys/{keys[0]['id']}/routing", json={"routing": "cheapest", **WHY})
    began = monotonic()
    while await model() == before:
        assert monotonic() - began < PATIENCE_S
        await asyncio.sleep(0.05)

    assert (before, monotonic() - began < 2) == ("imagegate/sandbox", True)
