"""Policies of accounts and keys over the admin API."""

from httpx import AsyncClient

from tests.admin.conftest import Issue
from tests.conftest import Account

WHY = {"reason": "a contract"}


async def test_a_policy_is_set_shown_and_taken_away(admin: AsyncClient, account: Account) -> None:
    (key, *_) = (await admin.get("/keys", params={"account": account.name})).json()["data"]

    of_account = await admin.post(f"/accounts/{account.name}/moderation", json={"moderation": "flag", **WHY})
    of_key = await admin.post(f"/keys/{key['id']}/moderation", json={"moderation": "off", **WHY})
    shown = (await admin.get(f"/accounts/{account.name}")).json()
    listed = (await admin.get("/keys", params={"account": account.name})).json()["data"]
    gone = await admin.post(f"/keys/{key['id']}/moderation", json={"moderation": None, **WHY})

    assert (of_account.status_code, of_account.json()["moderation"]) == (200, "flag")
    assert (of_key.status_code, of_key.json()["moderation"]) == (200, "off")
    assert (shown["moderation"], listed[0]["moderation"], listed[1]["moderation"]) == ("flag", "off", None)
    assert (gone.status_code, gone.json()["moderation"]) == (200, None)
    log = (await admin.get("/audit", params={"account": account.name})).json()["data"]
    assert [entry["action"] for entry in log[:3]] == [
        "keys.set_moderation",
        "keys.set_moderation",
        "accounts.set_moderation",
    ]


async def test_it_needs_the_scope_a_policy_that_there_is_and_somebody_to_have_it(
    admin: AsyncClient, issue: Issue, account: Account
) -> None:
    reader = await issue("read")
    path = f"/accounts/{account.name}/moderation"

    refused = await reader.post(path, json={"moderation": "off", **WHY})
    wrong = await admin.post(path, json={"moderation": "none", **WHY})
    silent = await admin.post(path, json=WHY)
    absent = await admin.post("/accounts/nobody/moderation", json={"moderation": "off", **WHY})
    no_key = await admin.post("/keys/key_0/moderation", json={"moderation": "off", **WHY})

    statuses = [r.status_code for r in (refused, wrong, silent, absent, no_key)]
    assert statuses[0] in (401, 403, 404)
    assert statuses[1:] == [400, 400, 404, 404]
    assert (await admin.get(f"/accounts/{account.name}")).json()["moderation"] is None
