"""Wallets over HTTP: topped up once per reference, corrected, and what moved."""

from httpx import AsyncClient

from tests.conftest import LIVE_TOKENS, Account

PAID = {"tokens": 500, "source": "stripe", "external_ref": "pi_1", "reason": "invoice 7"}


async def test_a_top_up_applies_once_for_its_reference(admin: AsyncClient, account: Account) -> None:
    path = f"/accounts/{account.name}/wallets/live/top-up"

    first, again = [await admin.post(path, json=PAID) for _ in range(2)]
    other = await admin.post(path, json={**PAID, "tokens": 501})

    assert [(r.status_code, r.json()["applied"]) for r in (first, again)] == [(200, True), (200, False)]
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")
    assert first.json()["available_tokens"] == LIVE_TOKENS + 500
    assert await account.balance() == (LIVE_TOKENS + 500, 0)
    entries = (await admin.get("/audit", params={"account": account.name})).json()["data"]
    assert [entry["action"] for entry in entries] == ["wallets.top_up"]


async def test_without_a_reference_every_top_up_counts(admin: AsyncClient, account: Account) -> None:
    path = f"/accounts/{account.name}/wallets/test/top-up"
    before, _ = await account.balance("test")

    for _ in range(2):
        assert (await admin.post(path, json={"tokens": 3, "reason": "a gift"})).status_code == 200

    assert await account.balance("test") == (before + 6, 0)


async def test_a_wallet_is_corrected_up_and_down_but_not_below_zero(
    admin: AsyncClient, account: Account
) -> None:
    path = f"/accounts/{account.name}/wallets/live/adjust"

    taken = await admin.post(path, json={"tokens": -400, "reason": "a mistake"})
    given = await admin.post(path, json={"tokens": 100, "reason": "a mistake"})
    below = await admin.post(path, json={"tokens": -LIVE_TOKENS, "reason": "a mistake"})
    nothing = await admin.post(path, json={"tokens": 0, "reason": "a mistake"})

    assert [taken.json()["posted_tokens"], given.json()["posted_tokens"]] == [
        LIVE_TOKENS - 400,
        LIVE_TOKENS - 300,
    ]
    assert [below.status_code, nothing.status_code] == [409, 400]
    assert await account.balance() == (LIVE_TOKENS - 300, 0)


async def test_whole_tokens_only_and_wallets_that_exist(admin: AsyncClient, account: Account) -> None:
    base = f"/accounts/{account.name}/wallets"

    for tokens in (0, -1, 1.5, "5", True, 2**53):
        response = await admin.post(f"{base}/live/top-up", json={"tokens": tokens, "reason": "a test"})
        assert (response.status_code, response.json()["param"]) == (400, "tokens")
    assert (await admin.post(f"{base}/prod/top-up", json={"tokens": 5, "reason": "a"})).status_code == 404
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_the_statement_tells_each_movement_once_page_by_page(
    admin: AsyncClient, account: Account
) -> None:
    base = f"/accounts/{account.name}/wallets/live"
    for number in range(5):
        await admin.post(f"{base}/top-up", json={"tokens": number + 1, "reason": f"invoice {number}"})

    seen, after = [], None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = (await admin.get(f"{base}/statement", params=params)).json()
        assert page["object"] == "list"
        seen += [line["version"] for line in page["data"]]
        if (after := page["next"]) is None:
            break

    assert seen == [6, 5, 4, 3, 2, 1]
    newest = (await admin.get(f"{base}/statement", params={"limit": 1})).json()["data"][0]
    assert (newest["tokens"], newest["balance_after"]) == (5, LIVE_TOKENS + 15)
    assert newest["actor"] == f"operator:{admin.headers['x-name']}"
