"""Prices over HTTP: set, ended, imported, exported, previewed and checked. Each test prices models of its own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient

from tests.admin.conftest import Issue
from tests.conftest import Account
from tests.fake_provider import FakeProvider

WHY = {"reason": "a test"}
HEAD = "model,item,size,quality,tokens\n"


async def in_force(admin: AsyncClient, model: str) -> dict[str, Any]:
    (price,) = (await admin.get("/prices", params={"model": model})).json()["data"]
    found: dict[str, Any] = price
    return found


def cells(price: dict[str, Any]) -> dict[tuple[str | None, str | None], int]:
    return {(cell["size"], cell["quality"]): cell["tokens"] for cell in price["prices"]}


async def entries(admin: AsyncClient, model: str) -> list[dict[str, Any]]:
    """What this operator did to a model's price, newest first."""
    params = {"actor": f"operator:{admin.headers['x-name']}"}
    found = (await admin.get("/audit", params=params)).json()["data"]
    return [entry for entry in found if entry["target"] == model]


async def test_a_price_is_set_ended_and_set_again_as_versions(admin: AsyncClient) -> None:
    model = "stability-ai/stable-image-core"
    before = await in_force(admin, model)

    made = await admin.post("/prices", json={"model": "stable-image-core", "tokens": 777, **WHY})
    ended = await admin.post(f"/prices/{model}/end", json={"reason": "too dear"})
    again = await admin.post(f"/prices/{model}/end", json=WHY)
    sized = {"model": model, "tokens": 5, "size": "1024x1024", **WHY}
    refused = await admin.post("/prices", json={**sized, "quality": "ultra"})
    set_anew = await admin.post("/prices", json=sized)

    assert (made.status_code, made.json()["version"]) == (201, before["version"] + 1)
    assert cells(made.json()) == {(None, None): 777}
    assert (ended.status_code, ended.json()["ended"], ended.json()["reason"]) == (200, True, "too dear")
    assert (again.status_code, again.json()["code"]) == (409, "price_conflict")
    assert (refused.status_code, refused.json()["param"]) == (400, "quality")
    assert cells(set_anew.json()) == {("1024x1024", None): 5}
    assert await in_force(admin, model) == set_anew.json()
    recorded = await entries(admin, model)
    assert [entry["action"] for entry in recorded] == ["prices.set", "prices.end", "prices.set"]
    assert recorded[1]["reason"] == "too dear"
    assert recorded[0]["request_id"] == set_anew.headers["x-request-id"]


async def test_every_version_is_told_newest_first_page_by_page_and_what_is_to_come(
    admin: AsyncClient,
) -> None:
    model, tomorrow = "recraft/recraftv4_1_utility", datetime.now(UTC) + timedelta(days=1)
    for tokens in (11, 12):
        await admin.post("/prices", json={"model": model, "tokens": tokens, **WHY})
    dated = {"model": model, "tokens": 13, "valid_from": tomorrow.isoformat(), **WHY}
    assert (await admin.post("/prices", json=dated)).status_code == 201

    seen: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = (await admin.get(f"/prices/{model}", params=params)).json()
        seen += page["data"]
        if (after := page["next"]) is None:
            break

    versions = [price["version"] for price in seen]
    assert versions == list(range(versions[0], 0, -1))
    assert [price["coming"] for price in seen[:3]] == [True, False, False]
    assert cells(await in_force(admin, model)) == {(None, None): 12}
    past = {**dated, "valid_from": "2020-01-01T00:00:00Z"}
    assert (await admin.post("/prices", json=past)).json()["param"] == "valid_from"


@pytest.mark.parametrize(
    "body",
    [
        {"tokens": 5},
        {"model": "sandbox", "tokens": -1},
        {"model": "sandbox", "tokens": 1.5},
        {"model": "sandbox", "tokens": "5"},
        {"model": "sandbox", "tokens": 5, "size": "big"},
        {"model": "sandbox", "tokens": 5, "currency": "USD"},
    ],
)
async def test_what_is_no_price_is_refused(admin: AsyncClient, body: dict[str, Any]) -> None:
    before = await in_force(admin, "sandbox")

    response = await admin.post("/prices", json={**body, **WHY})

    assert response.status_code == 400
    assert response.json()["param"] in ("model", "tokens", "size", "currency")
    assert await in_force(admin, "sandbox") == before


async def test_an_image_costs_nothing_only_where_that_is_said(admin: AsyncClient) -> None:
    body = {"model": "recraft/recraftv4_1_utility_pro", "tokens": 0, **WHY}

    refused = await admin.post("/prices", json=body)
    allowed = await admin.post("/prices", json={**body, "allow_zero": True})

    assert (refused.status_code, "(allow_zero)" in refused.json()["detail"]) == (400, True)
    assert (allowed.status_code, cells(allowed.json())) == (201, {(None, None): 0})


@pytest.mark.parametrize("form", ["csv", "yaml"])
async def test_what_is_exported_imports_without_a_difference(admin: AsyncClient, form: str) -> None:
    exported = (await admin.get("/prices/export", params={"format": form})).json()

    response = await admin.post("/prices/import", json={**exported, "publish": True, **WHY})

    assert exported["format"] == form
    assert "openai/dall-e-3" in exported["content"]
    told = response.json()
    assert len(told.pop("token")) == 40
    assert told == {
        "changes": [],
        "skipped": [],
        "not_image_models": 0,
        "refused": None,
        "published": [],
    }


async def test_an_import_shows_the_difference_and_changes_nothing_until_it_is_published(
    admin: AsyncClient,
) -> None:
    model = "recraft/recraftv4_1_pro"
    before = await in_force(admin, model)
    body = {"content": f"{HEAD}{model},image,,,4321\n", **WHY}

    looked = (await admin.post("/prices/import", json=body)).json()
    unchanged, silence = await in_force(admin, model), await entries(admin, model)
    published = (await admin.post("/prices/import", json={**body, "publish": True})).json()

    assert looked["published"] == silence == []
    assert unchanged == before
    assert looked["changes"] == published["changes"] != []
    assert {change["model"] for change in looked["changes"]} == {model}
    assert [(price["model"], price["version"]) for price in published["published"]] == [
        (model, before["version"] + 1)
    ]
    assert cells(await in_force(admin, model)) == {(None, None): 4321}
    assert [entry["action"] for entry in await entries(admin, model)] == ["prices.set"]


async def test_an_import_is_all_or_nothing(admin: AsyncClient) -> None:
    model = "recraft/recraftv4_1"
    before = await in_force(admin, model)
    zero = f"{HEAD}{model},image,,,99\nrecraft/recraftv4,image,,,0\n"
    wrong = f"{HEAD}{model},image,,,99\nacme/none,image,,,5\n"

    looked = await admin.post("/prices/import", json={"content": zero, **WHY})
    refused = await admin.post("/prices/import", json={"content": zero, "publish": True, **WHY})
    unread = await admin.post("/prices/import", json={"content": wrong, "publish": True, **WHY})

    assert (looked.status_code, "allow_zero" in looked.json()["refused"]) == (200, True)
    assert (refused.status_code, refused.json()["detail"]) == (400, looked.json()["refused"])
    assert (unread.status_code, unread.json()["code"]) == (400, "invalid_price_file")
    assert "line 3" in unread.json()["detail"]
    assert await in_force(admin, model) == before
    assert await entries(admin, model) == []


async def test_a_preview_reckons_and_changes_nothing(
    admin: AsyncClient, issue: Issue, client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    wish = {"prompt": "a cat", "model": "dall-e-3", "size": "1024x1024"}
    assert (await client.post("/v1/images/generations", json=wish)).status_code == 200
    before = await in_force(admin, "dall-e-3")
    reader = await issue("read")

    one = await reader.post("/prices/preview", json={"model": "dall-e-3", "tokens": 1, "days": 1})
    content = f"{HEAD}openai/dall-e-3,image,,,1\n"
    file = await reader.post("/prices/preview", json={"content": content, "days": 1})
    both = await reader.post("/prices/preview", json={"content": content, "model": "dall-e-3"})
    long = await reader.post("/prices/preview", json={"content": content, "days": 91})

    (line,) = one.json()["models"]
    assert line["model"] == "openai/dall-e-3"
    assert line["would_cost_tokens"] == line["images"] >= 1
    assert line["difference_tokens"] == line["images"] - line["charged_tokens"] < 0
    assert one.json()["total"]["difference_tokens"] == line["difference_tokens"]
    assert file.json()["models"] == [line]
    assert file.json()["changes"][0]["new_tokens"] in (None, 1)
    assert [both.status_code, long.json()["param"]] == [400, "days"]
    assert await in_force(admin, "dall-e-3") == before
    assert await entries(admin, "openai/dall-e-3") == []


async def test_a_check_finds_models_without_a_price(admin: AsyncClient) -> None:
    model = "recraft/recraftv4_1"
    assert (await admin.post(f"/prices/{model}/end", json=WHY)).status_code == 200

    found = (await admin.get("/prices/check", params={"everything": True})).json()
    here = (await admin.get("/prices/check")).json()

    unpriced = {finding["model"] for finding in found["findings"] if finding["kind"] == "unpriced"}
    assert (found["ok"], model in unpriced) == (False, True)
    assert model not in {finding["model"] for finding in here["findings"]}
    assert here["ok"] is (here["findings"] == [])
