"""Lists walked page by page, while rows are added."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient

from imagegate.admin.http.pages import Page, after_id, after_number, cursor
from imagegate.errors import InvalidRequest
from tests.conftest import Account

WHY = {"reason": "a test"}


async def add_key(admin: AsyncClient, account: Account) -> str:
    response = await admin.post("/keys", json={"account": account.name, "env": "test", **WHY})
    return str(response.json()["id"])


async def walk(admin: AsyncClient, account: Account, limit: int, adding: int) -> list[str]:
    """Ids of the account's keys, page by page; `adding` keys are made after each page."""
    seen: list[str] = []
    params: dict[str, Any] = {"account": account.name, "limit": limit}
    while True:
        page = (await admin.get("/keys", params=params)).json()
        assert page["has_more"] is (page["next"] is not None)
        assert len(page["data"]) <= limit
        seen += [key["id"] for key in page["data"]]
        if not page["has_more"]:
            return seen
        assert len(page["data"]) == limit
        params["after"] = page["next"]
        for _ in range(adding):
            await add_key(admin, account)


@pytest.mark.parametrize("limit", [1, 3, 200])
async def test_every_row_is_met_exactly_once_while_rows_are_added(
    admin: AsyncClient, account: Account, limit: int
) -> None:
    made = [await add_key(admin, account) for _ in range(4)]
    everything = await walk(admin, account, 200, adding=0)

    seen = await walk(admin, account, limit, adding=2)

    assert seen == everything
    assert set(made) < set(seen)
    assert len(seen) == len(set(seen)) == 6


async def test_a_page_that_is_just_full_has_no_next(admin: AsyncClient, account: Account) -> None:
    page = await admin.get("/keys", params={"account": account.name, "limit": 2})

    assert (len(page.json()["data"]), page.json()["has_more"], page.json()["next"]) == (2, False, None)


@pytest.mark.parametrize("number", [0, 1, 2**63 - 1])
def test_a_cursor_comes_back_as_it_went(number: int) -> None:
    id_ = uuid4()

    assert after_number(Page(after=cursor(number))) == number
    assert after_id(Page(after=cursor(id_))) == id_
    assert (after_id(Page()), after_number(Page())) == (None, None)


@pytest.mark.parametrize(
    "after", ["", "x", "=", "AAAA", "ä", cursor(5)[:-1], cursor(5) + "A", cursor(5), " " * 22]
)
def test_what_is_no_cursor_of_ids_is_refused(after: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        after_id(Page(after=after))

    assert refused.value.param == "after"


def test_a_cursor_of_ids_is_none_of_numbers() -> None:
    with pytest.raises(InvalidRequest):
        after_number(Page(after=cursor(UUID(int=5))))
