"""What Lunos's callers may know: models, usage by app and day, account and balance."""

from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import limits
from imagegate.identity import keys
from imagegate.identity.audit import Actor
from imagegate.identity.limit_rows import Scope
from imagegate.ids import public_id
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, Speak, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status

PATH = "/v1/image/generations"
BODY = {"prompt": "a fox", "model": "openai/dall-e-2", "size": "256x256"}
COST = 5_000


def by_app(told: dict[str, Any]) -> dict[str | None, tuple[int, int, int]]:
    """(images, errors, tokens) of each app."""
    return {row["app"]: (row["images"], row["errors"], row["charged_tokens"]) for row in told["data"]}


async def test_usage_tells_images_errors_and_spend_of_each_app_by_day(
    client: AsyncClient, fake: FakeProvider
) -> None:
    await client.post(PATH, json=BODY | {"n": 2}, headers={"X-App-ID": "shop"})
    await client.post(PATH, json=BODY | {"appId": "blog"}, headers={"X-App-ID": "shop"})
    fake.then(Status(400))
    await client.post(PATH, json=BODY | {"appId": "blog"})
    await client.post("/v1/images/generations", json=BODY, headers={"X-App-ID": "shop"})
    await client.post(PATH, json=BODY, headers={"X-App-ID": "Unknown"})

    told = (await client.get("/v1/usage")).json()

    expected = {"shop": (3, 0, 3 * COST), "blog": (1, 1, COST), None: (1, 0, COST)}
    assert by_app(told) == expected
    assert {row["at"] for row in told["data"]} == {datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")}
    assert (told["total_tokens"], told["total_cost"], told["currency"]) == (5 * COST, 0.025, "USD")
    assert not any("usd" in name for row in told["data"] for name in row)


async def test_usage_is_told_by_other_words_and_of_other_spans(
    client: AsyncClient, fake: FakeProvider
) -> None:
    await client.post(PATH, json=BODY)

    asked = {"by": "model,key", "bucket": "none"}
    (row,) = (await client.get("/v1/usage", params=asked)).json()["data"]
    past = await client.get("/v1/usage", params={"until": "2026-01-01T00:00:00Z"})

    assert (row["model"], row["generations"]) == ("openai/dall-e-2", 1)
    assert row["key"].startswith("key_")
    assert "at" not in row
    assert past.json()["data"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "account"},
        {"by": "provider_keys"},
        {"bucket": "week"},
        {"since": "yesterday"},
        {"since": "2020-01-01T00:00:00Z"},
        {"until": "0001-01-01T00:00:00Z"},
        {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
    ],
)
async def test_usage_refuses_what_it_cannot_tell(client: AsyncClient, wrong: dict[str, str]) -> None:
    response = await client.get("/v1/usage", params=wrong)

    assert response.status_code == 400
    assert response.json()["error"]["param"] in wrong


async def test_usage_is_that_of_the_own_account_alone(
    client: AsyncClient, base_url: str, services: Services, engine: AsyncEngine, fake: FakeProvider
) -> None:
    stranger = await open_account(services, engine)
    await client.post(PATH, json=BODY)

    async with AsyncClient(base_url=base_url, headers={"x-api-key": stranger.key}) as http:
        told = (await http.get("/v1/usage")).json()

    assert (told["data"], told["total_tokens"]) == ([], 0)


async def test_what_a_request_names_goes_before_the_label_of_its_key_in_usage(
    client: AsyncClient, speaking: Speak, fake: FakeProvider
) -> None:
    async with speaking(keys.Labels(app="shop")) as labelled:
        named = await labelled.post(PATH, json=BODY | {"appId": "blog"}, headers={"X-App-ID": "forum"})
        silent = await labelled.post(PATH, json=BODY)

    assert [answer.json()["metadata"]["app"] for answer in (named, silent)] == ["blog", "shop"]
    told = (await client.get("/v1/usage")).json()
    assert by_app(told) == {"blog": (1, 0, COST), "shop": (1, 0, COST)}


async def set_budget(engine: AsyncEngine, account: Account, scope: Scope, tokens: int) -> None:
    async with engine.begin() as tx:
        most = {"day_tokens": tokens}
        await limits.set_limits(tx, account.name, "live", scope, most, Actor("tests", "a test"))


async def test_a_caller_does_not_leave_the_budget_of_its_app_by_naming_another(
    account: Account, engine: AsyncEngine, speaking: Speak, fake: FakeProvider
) -> None:
    async with speaking(keys.Labels(app="shop")) as labelled:

        async def ask(name: str) -> int:
            body, headers = BODY | {"appId": name}, {"X-App-ID": name}
            return (await labelled.post(PATH, json=body, headers=headers)).status_code

        before = await ask("blog")  # counts on the budget that is set after it
        await set_budget(engine, account, Scope("app", "shop"), 2 * COST)
        await set_budget(engine, account, Scope("app", "forum"), COST)
        after = [await ask(name) for name in ("forum", "wiki")]

    assert (before, *after) == (200, 200, 429)


async def test_the_budget_of_an_app_holds_for_requests_that_name_it(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    first = await client.post(PATH, json=BODY, headers={"X-App-ID": "shop"})
    await set_budget(engine, account, Scope("app", "shop"), COST)

    named = await client.post(PATH, json=BODY, headers={"X-App-ID": "shop"})
    other = await client.post(PATH, json=BODY)

    assert (first.status_code, named.status_code, other.status_code) == (200, 429, 200)
    assert named.json()["error"]["code"] == "budget_exceeded"


async def test_naming_an_app_does_not_leave_the_budget_of_the_team(
    account: Account, engine: AsyncEngine, speaking: Speak, fake: FakeProvider
) -> None:
    await set_budget(engine, account, Scope("team", "design"), COST)

    async with speaking(keys.Labels(team="design")) as teammate:
        answers = [await teammate.post(PATH, json=BODY | {"appId": name}) for name in ("blog", "forum")]

    assert [a.status_code for a in answers] == [200, 429]


async def test_the_models_are_a_bare_array_for_everybody(base_url: str) -> None:
    async with AsyncClient(base_url=base_url) as stranger:
        told = (await stranger.get("/public/models")).json()

    models = {model["id"]: model for model in told}
    drawer, editor = models["openai/dall-e-3"], models["openai/gpt-image-2.5-flare"]
    assert drawer["parameters"] == {"size": "1024x1024, 1024x1792, 1792x1024"}
    assert (drawer["provider"], drawer["name"], drawer["status"]) == ("openai", "dall-e-3", "available")
    assert all("image-generation" in model["capabilities"] for model in told)
    assert "image-editing" in editor["capabilities"]
    assert "image-editing" not in drawer["capabilities"]
    assert set(drawer["pricePerMillionTokens"]) == {"input", "output"}
    assert models["black-forest-labs/flux-pro-1.1"]["status"] == "unavailable"


async def test_the_account_tells_whose_key_it_is(account: Account, speaking: Speak) -> None:
    async with speaking(keys.Labels("design", "shop", "staging")) as labelled:
        told = (await labelled.get("/v1/account", headers={"X-App-ID": "blog"})).json()

    assert (told["id"], told["name"], told["env"]) == (
        public_id("acc", account.id),
        account.name,
        "live",
    )
    assert told["key"]["id"].startswith("key_")
    assert {name: told["key"][name] for name in ("team", "app", "environment")} == {
        "team": "design",
        "app": "shop",
        "environment": "staging",
    }
    assert told["balance"]["available_tokens"] == LIVE_TOKENS


async def test_the_balance_goes_down_by_what_was_spent(client: AsyncClient, fake: FakeProvider) -> None:
    before = (await client.get("/balance")).json()
    await client.post(PATH, json=BODY)
    after = (await client.get("/balance")).json()

    assert (before["balance"], after["balance"]) == (1.0, 0.995)
    assert (after["available_tokens"], after["held_tokens"], after["currency"]) == (
        LIVE_TOKENS - COST,
        0,
        "USD",
    )


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/account", "/balance"])
async def test_what_tells_of_an_account_needs_a_key(base_url: str, path: str) -> None:
    async with AsyncClient(base_url=base_url) as stranger:
        response = await stranger.get(path)

    assert (response.status_code, response.json()["error"]["code"]) == (401, "missing_api_key")
