"""The page of usage: any metric, drawn and ranked, and what budgets have left."""

import json
import re
from html import unescape

import pytest
from httpx import AsyncClient

from tests.admin.console.conftest import Seat
from tests.conftest import Account

BODY = {"prompt": "a heron", "model": "sandbox", "size": "256x256"}


def chart_in(page: str) -> dict[str, object]:
    found = re.search(r"data-chart='([^']+)'", page)
    assert found, page
    told: dict[str, object] = json.loads(unescape(found[1]))
    return told


@pytest.fixture
async def spent(client: AsyncClient, account: Account) -> int:
    """Tokens that two images took."""
    for _ in range(2):
        assert (await client.post("/v1/images/generations", json=BODY)).status_code == 200
    return 1_000_000 - (await account.balance())[0]


async def test_the_metric_is_drawn_by_the_day_or_by_the_hour(
    reader: Seat, account: Account, spent: int
) -> None:
    days = (await reader.get("/console/usage", account=account.name, range="7d")).text
    hours = (await reader.get("/console/usage", account=account.name, range="24h", metric="images")).text

    charged, images = chart_in(days), chart_in(hours)
    assert charged["series"] == [{"name": "imagegate/sandbox", "values": [0.0] * 7 + [spent / 1_000_000]}]
    assert "Charged per day" in days
    assert "Images per hour" in hours
    (series,) = images["series"]  # type: ignore[misc]
    assert sum(series["values"]) == 2


async def test_a_budget_is_a_line_across_the_chart_and_a_row_with_what_is_used(
    writer: Seat, account: Account, spent: int
) -> None:
    url = f"/console/accounts/{account.name}"
    await writer.post(
        f"{url}/limits", env="live", scope="account", day_tokens="400000", month_tokens="500000"
    )

    page = (await writer.get("/console/usage", account=account.name, range="7d")).text
    images = (await writer.get("/console/usage", account=account.name, range="7d", metric="images")).text

    assert chart_in(page)["line"] == {"name": "budget of a day", "value": 0.4}
    assert "line" not in chart_in(images)
    budgets = page.partition("Budgets")[2].partition("</table>")[0]
    assert [cell for cell in ("day", "month") if f"<td>{cell}</td>" in budgets] == ["day", "month"]
    assert "400,000 tokens" in budgets


@pytest.mark.parametrize(
    "by", ["model", "key", "team", "app", "user", "provider", "size", "quality", "account"]
)
async def test_the_table_of_the_page_says_what_its_json_says(
    reader: Seat, account: Account, spent: int, by: str
) -> None:
    query = {"account": account.name, "range": "24h", "by": by}
    for bucket in ("none", "hour", "day"):
        page = (await reader.get("/console/usage", bucket=bucket, **query)).text
        (row,) = (await reader.get("/console/usage.json", bucket=bucket, **query)).json()["data"]

        cells = re.findall(r'<td class="n">([\d,]+)</td>', page.partition('aria-label="Usage"')[2])
        assert (row["charged_tokens"], row["images"], row["generations"]) == (spent, 2, 2)
        assert cells == ["2", "2", "0"]
        assert f"{spent:,} tokens" in page


async def test_two_dimensions_are_a_table_of_both_and_a_chart_of_the_first(
    reader: Seat, account: Account, spent: int
) -> None:
    page = await reader.get("/console/usage", account=account.name, range="7d", by="model,size")

    assert page.status_code == 200
    (series,) = chart_in(page.text)["series"]  # type: ignore[misc]
    assert series["name"] == "imagegate/sandbox"
    table = page.text.partition('aria-label="Usage"')[2]
    assert "256x256" in table
    assert f"{spent:,} tokens" in table


@pytest.mark.parametrize("by", ["model", "user"])
async def test_an_account_that_has_drawn_nothing_has_a_page_and_its_budgets(
    writer: Seat, account: Account, by: str
) -> None:
    await writer.post(
        f"/console/accounts/{account.name}/limits", env="live", scope="account", day_tokens="400000"
    )

    page = await writer.get("/console/usage", account=account.name, by=by)

    assert page.status_code == 200
    assert "data-chart" not in page.text
    assert "400,000 tokens" in page.text.partition("Budgets")[2]


async def test_a_metric_that_nobody_knows_is_a_clear_error(reader: Seat) -> None:
    refused = await reader.get("/console/usage", metric="luck")

    assert refused.status_code == 400
    assert "charged_tokens, images" in refused.text
