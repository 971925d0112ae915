"""Times of keeping and keep-alive over the admin API."""

import asyncio
from datetime import UTC, datetime
from time import monotonic

from httpx import AsyncClient

from tests.admin.conftest import Issue
from tests.conftest import Account

WHY = {"reason": "a contract"}
MAKE = "/v1/images/generations"
PATIENCE_S = 10.0
SMALL = {"prompt": "a heron", "model": "sandbox", "size": "256x256"}


async def test_times_are_set_one_by_one_shown_and_taken_away(admin: AsyncClient, account: Account) -> None:
    path = f"/accounts/{account.name}/retention"

    first = await admin.post(path, json={"keep_images_h": 48, **WHY})
    second = await admin.post(path, json={"keep_prompts_h": 24, **WHY})
    shown = (await admin.get(f"/accounts/{account.name}")).json()
    gone = await admin.post(path, json={"keep_images_h": None, **WHY})

    assert [r.status_code for r in (first, second, gone)] == [200] * 3, first.text
    assert (shown["keep_images_h"], shown["keep_prompts_h"]) == (48, 24)
    assert (gone.json()["keep_images_h"], gone.json()["keep_prompts_h"]) == (None, 24)
    log = (await admin.get("/audit", params={"account": account.name})).json()["data"]
    told = {k: v for k, v in log[0]["detail"].items() if k != "name"}
    assert (log[0]["action"], log[0]["reason"]) == ("accounts.set_retention", "a contract")
    assert told == {"keep_images_h": None, "before": {"keep_images_h": 48}}


async def test_it_needs_the_scope_a_day_at_least_and_an_account(
    admin: AsyncClient, issue: Issue, account: Account
) -> None:
    reader, path = await issue("read"), f"/accounts/{account.name}/retention"

    answers = [
        await reader.post(path, json={"keep_images_h": 48, **WHY}),
        await admin.post(path, json={"keep_images_h": 23, **WHY}),
        await admin.post(path, json={"keep_prompts_h": 876_001, **WHY}),
        await admin.post(path, json={"keep_prompts_h": "48", **WHY}),
        await admin.post(path, json=WHY),
        await admin.post("/accounts/nobody-at-all/retention", json={"keep_images_h": 48, **WHY}),
    ]

    assert answers[0].status_code in (401, 403, 404)
    assert [answer.status_code for answer in answers[1:]] == [400, 400, 400, 400, 404]
    shown = (await admin.get(f"/accounts/{account.name}")).json()
    assert (shown["keep_images_h"], shown["keep_prompts_h"]) == (None, None)


async def test_images_are_soon_kept_by_the_new_time(
    admin: AsyncClient, account: Account, client: AsyncClient
) -> None:
    async def hours_left() -> int:
        named = (await client.post(MAKE, json=SMALL)).json()["metadata"]["id"]
        told = (await client.get(f"{MAKE}/{named}")).json()
        return round((int(told["expires_at"]) - datetime.now(UTC).timestamp()) / 3600)

    before = await hours_left()
    await admin.post(f"/accounts/{account.name}/retention", json={"keep_images_h": 48, **WHY})
    began = monotonic()
    while (after := await hours_left()) == before:
        assert monotonic() - began < PATIENCE_S
        await asyncio.sleep(0.1)

    assert (before, after) == (720, 48)


async def test_keep_alive_is_set_shown_and_taken_away(admin: AsyncClient, account: Account) -> None:
    body = {"account": account.name, "env": "test", "keepalive": True, **WHY}
    made = (await admin.post("/keys", json=body)).json()
    path = f"/keys/{made['id']}/keepalive"

    off = await admin.post(path, json={"keepalive": False, **WHY})
    on = await admin.post(path, json={"keepalive": True, **WHY})
    new = (await admin.post(f"/keys/{made['id']}/rotate", json={"overlap_s": 0, **WHY})).json()
    wrong = [await admin.post(path, json={"keepalive": said, **WHY}) for said in (None, "on", 1)]

    assert (made["keepalive"], off.json()["keepalive"], on.json()["keepalive"], new["keepalive"]) == (
        True,
        False,
        True,
        True,
    )
    assert [answer.status_code for answer in wrong] == [400] * 3
    log = (await admin.get("/audit", params={"account": account.name})).json()["data"]
    changes = [entry["detail"] for entry in log if entry["action"] == "keys.set_keepalive"]
    assert [(change["keepalive"], change["before"]) for change in changes] == [(True, False), (False, True)]
