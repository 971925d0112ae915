import csv
import io
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin.audit import EntryFilter, page_entries
from imagegate.ledger.balances import read_balances
from imagegate.services import Services
from tests.admin.console.conftest import Seat
from tests.conftest import Account


def url_of(account: Account) -> str:
    return f"/console/accounts/{account.name}"


async def actions(services: Services, account: Account) -> list[str]:
    async with services.engine.connect() as connection:
        entries = await page_entries(connection, EntryFilter(account=account.name), None, 20)
    return [entry.action for entry in entries]


async def test_the_balance_over_time_is_what_the_wallet_had_at_each_moment(
    reader: Seat, writer: Seat, account: Account, admin: AsyncClient
) -> None:
    await writer.post(f"{url_of(account)}/adjust", env="live", tokens="-250000", reason="a mistake")

    told = (await reader.get(f"{url_of(account)}/balances.json", env="live", range="1h")).json()["data"]
    sheet = (await reader.get(f"{url_of(account)}/balances.csv", env="live", range="1h")).text
    page = (await reader.get(url_of(account), env="live", range="1h")).text
    curl = re.search(r"(/admin/v1/accounts/[^/]+/wallets/live/balances\?\S+?)&#39;", page)
    assert curl
    same = (await admin.get(curl[1].removeprefix("/admin/v1").replace("&amp;", "&"))).json()["data"]

    assert (told[0]["posted_tokens"], told[-1]["posted_tokens"]) == (0, 750_000)
    assert len(told) == len(list(csv.DictReader(io.StringIO(sheet)))) == len(same) == 97
    assert same[0]["posted_tokens"] == 0
    assert "data-lines=" in page


async def test_the_chart_finds_each_moment_among_many_transfers(
    engine: AsyncEngine, account: Account
) -> None:
    """They are taken back: no ledger could prove them."""
    many = text("""
        INSERT INTO transfers (account_id, env, id, wallet_version, debit, credit, tokens, kind, balance_after, at)
        SELECT :id, 'live',
            (lpad(to_hex(CAST(:ms AS bigint) + n * 1000), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid,
            100 + n, 'funding', 'wallet', 1, 'top_up', 1000000 + n, now() FROM generate_series(1, 2000) n
    """)
    begin = datetime.now(UTC) - timedelta(days=1)
    moments = [begin + timedelta(seconds=n) for n in (0.5, 500.5, 1999.5)]

    async with engine.connect() as connection:
        await connection.execute(many, {"id": account.id, "ms": int(begin.timestamp() * 1000)})
        had = await read_balances(connection, account.id, "live", moments)
        await connection.rollback()

    assert had == [0, 1_000_500, 1_001_999]


async def test_limits_are_set_shown_and_taken_away(
    writer: Seat, account: Account, services: Services
) -> None:
    path = f"{url_of(account)}/limits"

    first = await writer.post(path, env="live", scope="account", requests_per_min="60", day_tokens="5,000")
    await writer.post(path, env="live", scope="account", concurrent="4", reason="too many")
    kept = (await writer.get(f"{path}.json", env="live")).json()["data"]
    await writer.post(path, env="live", scope="account", all="1", month_tokens="9000")
    left = (await writer.get(f"{path}.json", env="live")).json()["data"]
    wrong = await writer.post(path, env="live", scope="team", scope_id="red", concurrent="4")
    page = (await writer.get(url_of(account), env="live")).text
    await writer.post(path, env="live", scope="account", do="clear")
    none = (await writer.get(f"{path}.json", env="live")).json()["data"]

    assert first.status_code == 303
    assert [(row["requests_per_min"], row["day_tokens"], row["concurrent"]) for row in kept] == [
        (60, 5000, 4)
    ]
    assert kept[0]["day"] is None or kept[0]["day"]["left_tokens"] == 5000
    assert [(row["requests_per_min"], row["month_tokens"]) for row in left] == [(None, 9000)]
    assert wrong.status_code == 400
    assert "9,000" in page
    assert none == []
    assert await actions(services, account) == ["limits.clear", "limits.set", "limits.set", "limits.set"]


async def test_an_allowance_is_granted_at_once_and_ended(
    writer: Seat, account: Account, services: Services
) -> None:
    path = f"{url_of(account)}/allowances"

    made = await writer.post(path, env="live", period="day", tokens="70,000", reason="a plan")
    with_it = (await account.balance())[0]
    listed = (await writer.get(f"{path}.json")).json()["data"]
    page = (await writer.get(url_of(account), env="live")).text
    ended = await writer.post(f"{path}/end", env="live", allowance=listed[0]["id"])

    assert (made.status_code, ended.status_code) == (303, 303)
    assert with_it == 1_070_000
    assert [(row["period"], row["tokens"], row["carry_over"]) for row in listed] == [("day", 70_000, False)]
    assert "70,000" in page
    assert (await account.balance())[0] == 1_000_000
    assert (await writer.get(f"{path}.json")).json()["data"] == []
    assert await actions(services, account) == ["allowances.end", "allowances.set"]


async def test_an_account_is_found_by_a_part_of_its_name_and_closed_for_good(writer: Seat) -> None:
    name = f"Shop {uuid4().hex[:8]}"
    opened = await writer.post("/console/accounts", name=name)
    where = opened.headers["location"]

    found = (await writer.get("/console/accounts.json", name=name.upper()[2:])).json()["data"]
    closed = await writer.post(f"{where}/close", reason="left")
    page = (await writer.get(where)).text
    refused = await writer.post(f"{where}/top-up", env="live", tokens="5")

    assert [row["name"] for row in found] == [name]
    assert closed.status_code == 303
    assert '<span class="pill bad">closed</span>' in page
    assert "/top-up" not in page
    assert refused.status_code == 409


@pytest.mark.parametrize("path", ["limits", "allowances", "balances"])
async def test_tables_beside_the_ledger_are_there_in_both_forms(
    reader: Seat, account: Account, path: str
) -> None:
    for form in ("json", "csv"):
        answer = await reader.get(f"{url_of(account)}/{path}.{form}", env="test")
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "private, no-store"
