"""Limits and allowances over HTTP: set, shown, obeyed, cleared and ended."""

from typing import Any

import pytest
from httpx import AsyncClient

from tests.conftest import LIVE_TOKENS, Account, open_account

WHY = {"reason": "a test"}
PATH = "/v1/images/generations"


def limits_of(account: Account, env: str = "live") -> str:
    return f"/accounts/{account.name}/limits/{env}"


async def actions(admin: AsyncClient, account: Account) -> list[str]:
    entries = (await admin.get("/audit", params={"account": account.name})).json()["data"]
    return [entry["action"] for entry in reversed(entries)]


async def test_a_budget_is_set_obeyed_and_cleared(
    admin: AsyncClient, test_client: AsyncClient, account: Account
) -> None:
    path, wish = limits_of(account, "test"), {"prompt": "a cat", "model": "sandbox", "size": "256x256"}

    made = await admin.post(path, json={"day_tokens": 1, "concurrent": 3, **WHY})
    over = await test_client.post(PATH, json=wish)
    cleared = await admin.post(f"{path}/clear", json={"only": ["day_tokens"], **WHY})
    under = await test_client.post(PATH, json=wish)

    assert (made.status_code, made.json()["day_tokens"], made.json()["scope"]) == (200, 1, "account")
    assert (over.status_code, over.json()["error"]["code"]) == (429, "budget_exceeded")
    assert (cleared.json()["day_tokens"], cleared.json()["concurrent"]) == (None, 3)
    assert under.status_code == 200
    assert await actions(admin, account) == ["limits.set", "limits.clear"]


async def test_limits_that_are_not_named_stay_and_null_takes_one_away(
    admin: AsyncClient, account: Account
) -> None:
    path = limits_of(account)
    await admin.post(path, json={"requests_per_min": 60, "month_tokens": 500, **WHY})
    await admin.post(path, json={"team": "red", "day_tokens": 7, **WHY})

    await admin.post(path, json={"requests_per_min": None, "concurrent": 2, **WHY})

    listed = (await admin.get(path)).json()["data"]
    assert [(row["scope"], row["scope_id"]) for row in listed] == [("account", None), ("team", "red")]
    names = ("requests_per_min", "images_per_min", "concurrent", "day_tokens", "month_tokens")
    assert [tuple(row[name] for name in names) for row in listed] == [
        (None, None, 2, None, 500),
        (None, None, None, 7, None),
    ]
    assert listed[0]["env"] == "live"
    assert (await admin.get(limits_of(account, "test"))).json()["data"] == []


async def test_a_key_has_limits_in_its_own_account_and_environment_alone(
    admin: AsyncClient, account: Account
) -> None:
    keys = (await admin.get("/keys", params={"account": account.name, "env": "live"})).json()["data"]
    body = {"key": keys[0]["id"], "requests_per_min": 5, **WHY}

    mine = await admin.post(limits_of(account), json=body)
    elsewhere = await admin.post(limits_of(account, "test"), json=body)

    assert (mine.json()["scope"], mine.json()["scope_id"]) == ("key", keys[0]["id"])
    assert elsewhere.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"day_tokens": -1},
        {"day_tokens": 2**53},
        {"day_tokens": 1.5},
        {"requests_per_min": True},
        {"weekly_tokens": 5},
        {"team": "red", "requests_per_min": 5},
        {"team": "red", "app": "shop", "day_tokens": 5},
        {"team": "", "day_tokens": 5},
    ],
)
async def test_what_is_no_limit_is_refused(
    admin: AsyncClient, account: Account, body: dict[str, Any]
) -> None:
    response = await admin.post(limits_of(account), json={**body, **WHY})

    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")
    assert (await admin.get(limits_of(account))).json()["data"] == []
    assert await actions(admin, account) == []


async def test_limits_of_nobody_and_of_no_wallet_are_not_found(admin: AsyncClient, account: Account) -> None:
    nobody = await admin.post("/accounts/nobody-at-all/limits/live", json={"day_tokens": 5, **WHY})
    nowhere = await admin.post(limits_of(account, "prod"), json={"day_tokens": 5, **WHY})
    nothing = await admin.post(f"{limits_of(account)}/clear", json=WHY)

    assert [response.status_code for response in (nobody, nowhere, nothing)] == [404, 404, 404]


async def test_an_allowance_is_granted_at_once_changed_and_ended(
    admin: AsyncClient, account: Account
) -> None:
    body = {"account": account.name, "env": "live", "period": "month", "tokens": 700, **WHY}

    made = (await admin.post("/allowances", json=body)).json()
    granted = await account.balance()
    changed = (await admin.post("/allowances", json={**body, "tokens": 900, "carry_over": True})).json()
    ended = (await admin.post(f"/allowances/{made['id']}/end", json=WHY)).json()
    again = await admin.post(f"/allowances/{made['id']}/end", json=WHY)

    assert granted == (LIVE_TOKENS + 700, 0)
    assert (changed["id"], changed["tokens"], changed["carry_over"]) == (made["id"], 900, True)
    assert (made["ended_at"], ended["ended_at"] is None) == (None, False)
    assert again.status_code == 200
    assert await account.balance() == (LIVE_TOKENS + 700, 0)
    params = {"account": account.name}
    assert (await admin.get("/allowances", params=params)).json()["data"] == []
    assert (await admin.get("/allowances", params={**params, "ended": True})).json()["data"] == [ended]
    assert await actions(admin, account) == ["allowances.set", "allowances.set", "allowances.end"]


async def test_allowances_are_listed_newest_first_and_of_one_account(
    admin: AsyncClient, account: Account, services: Any, engine: Any
) -> None:
    other = await open_account(services, engine)
    made = []
    for owner, env, period in (
        (account, "live", "month"),
        (other, "live", "month"),
        (account, "live", "day"),
        (account, "test", "day"),
    ):
        body = {"account": owner.name, "env": env, "period": period, "tokens": 5, **WHY}
        made.append((await admin.post("/allowances", json=body)).json()["id"])

    first = (await admin.get("/allowances", params={"account": account.name, "limit": 2})).json()
    rest = (await admin.get("/allowances", params={"account": account.name, "after": first["next"]})).json()

    assert [row["id"] for row in first["data"]] == [made[3], made[2]]
    assert [row["id"] for row in rest["data"]] == [made[0]]
    assert (first["has_more"], rest["has_more"]) == (True, False)


@pytest.mark.parametrize(
    "body", [{"tokens": 0}, {"tokens": 2**53}, {"period": "week"}, {"env": "prod"}, {"account": None}]
)
async def test_what_is_no_allowance_is_refused(
    admin: AsyncClient, account: Account, body: dict[str, Any]
) -> None:
    whole = {"account": account.name, "env": "live", "period": "day", "tokens": 5, **WHY}

    response = await admin.post("/allowances", json={**whole, **body})

    assert (response.status_code, response.json()["param"]) == (400, next(iter(body)))
    assert await account.balance() == (LIVE_TOKENS, 0)
