import re

from httpx import AsyncClient

from tests.admin.console.conftest import Seat
from tests.conftest import Account


async def key_of(seat: Seat, account: Account, env: str = "test") -> str:
    rows = (await seat.get("/console/keys.json", account=account.name, env=env)).json()["data"]
    id_: str = rows[0]["id"]
    return id_


async def test_a_key_tells_when_it_was_last_used(
    reader: Seat, account: Account, test_client: AsyncClient
) -> None:
    async def used() -> list[tuple[str, bool, bool]]:
        rows = (await reader.get("/console/keys.json", account=account.name)).json()["data"]
        return sorted((row["env"], row["last_used_at"] is not None, row["never_used"]) for row in rows)

    before = await used()
    body = {"model": "sandbox", "prompt": "a river", "size": "256x256"}
    assert (await test_client.post("/v1/images/generations", json=body)).status_code == 200
    after = await used()
    page = (await reader.get(f"/console/keys/{await key_of(reader, account)}")).text

    assert before == [("live", False, True), ("test", False, True)]
    assert after == [("live", False, True), ("test", True, False)]
    assert "Last used" in page
    assert account.name in page


async def test_a_key_s_budget_is_set_on_its_page_and_held(
    writer: Seat, account: Account, test_client: AsyncClient
) -> None:
    path = f"/console/keys/{await key_of(writer, account)}"

    done = await writer.post(f"{path}/limits", day_tokens="1", reason="a trial")
    told = (await writer.get(f"{path}/limits.json")).json()["data"]
    body = {"model": "sandbox", "prompt": "a river", "size": "256x256"}
    refused = await test_client.post("/v1/images/generations", json=body)
    page = (await writer.get(path)).text
    cleared = await writer.post(f"{path}/limits", scope="account", do="clear")

    assert (done.status_code, cleared.status_code) == (303, 303)
    assert [(row["scope"], row["day_tokens"]) for row in told] == [("key", 1)]
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert "1 left in" in page
    assert (await writer.get(f"{path}/limits.json")).json()["data"] == []


async def test_a_rotated_key_is_shown_once_and_has_the_old_one_s_place(
    writer: Seat, account: Account
) -> None:
    old = await key_of(writer, account)

    made = await writer.post(f"/console/keys/{old}/rotate", overlap_s="3600")
    plain = re.search(r"igk_test_[0-9A-Za-z]{49}", made.text)
    new = await key_of(writer, account)
    ends = (await writer.get(f"/console/keys/{old}.json")).json()["data"][0]["expires_at"]
    page = (await writer.get(f"/console/keys/{new}")).text

    assert plain
    assert new != old
    assert ends is not None
    assert old in page
    assert plain[0] not in page


async def test_a_key_s_policies_are_saved_where_they_differ(writer: Seat, account: Account) -> None:
    path = f"/console/keys/{await key_of(writer, account)}"

    saved = await writer.post(f"{path}/policies", moderation="flag", routing="cheapest", keepalive="1")
    told = (await writer.get(f"{path}.json")).json()["data"][0]
    wrong = await writer.post(f"{path}/policies", moderation="odd")

    assert (saved.status_code, wrong.status_code) == (303, 400)
    assert (told["moderation"], told["routing"], told["keepalive"]) == ("flag", "cheapest", True)
