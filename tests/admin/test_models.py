"""Models disabled, redirected and renamed over HTTP, and what callers get then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.app import create_app
from imagegate.generation import recovery
from imagegate.generation.recovery import Deaths
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.line.test_polled import COST, SlowProvider, another_worker, die_after_it_is_accepted, until_state

MINI, MINI_ID = "gpt-image-1-mini", "openai/gpt-image-1-mini"
DALLE3 = "openai/dall-e-3"
PATH = "/v1/images/generations"
WHY = {"reason": "a test"}

Taken = Callable[[], Awaitable[None]]


@pytest.fixture
async def taken(services: Services, engine: AsyncEngine) -> AsyncIterator[Taken]:
    """Waits until the gateway has the rules that the database has. After the test there are none."""

    async def as_stored() -> None:
        async with engine.connect() as connection:
            query = text("SELECT name, rule, target FROM model_rules")
            stored = {tuple(row) for row in await connection.execute(query)}
        async with asyncio.timeout(10):
            while {(r.name, r.kind, r.target) for r in services.catalogue.rules.rules} != stored:
                await asyncio.sleep(0.02)

    yield as_stored
    async with engine.begin() as tx:
        await tx.execute(text("DELETE FROM model_rules"))
        await tx.execute(text("UPDATE versions SET n = n + 1 WHERE name = 'models'"))
    await as_stored()


async def change(admin: AsyncClient, model: str, verb: str, **body: Any) -> dict[str, Any]:
    response = await admin.post(f"/models/{model}/{verb}", json={**WHY, **body})
    assert response.status_code == 200, response.text
    changed: dict[str, Any] = response.json()
    return changed


async def refused(admin: AsyncClient, model: str, verb: str, **body: Any) -> tuple[int, str, str]:
    response = await admin.post(f"/models/{model}/{verb}", json={**WHY, **body})
    problem = response.json()
    return response.status_code, problem["code"], problem["param"]


async def actions(admin: AsyncClient, target: str) -> list[str]:
    """What was recorded of a target by this operator, oldest first."""
    params = {"actor": f"operator:{admin.headers['x-name']}"}
    entries = (await admin.get("/audit", params=params)).json()["data"]
    return [entry["action"] for entry in reversed(entries) if entry["target"] == target]


async def listed_ids(client: AsyncClient) -> set[str]:
    return {model["id"] for model in (await client.get("/v1/models")).json()["data"]}


async def test_a_disabled_model_is_no_model_for_callers_until_it_is_enabled(
    admin: AsyncClient, client: AsyncClient, account: Account, fake: FakeProvider, taken: Taken
) -> None:
    wish = {"prompt": "a cat", "model": "dall-e-2", "size": "256x256"}
    assert (await client.post(PATH, json=wish)).status_code == 200

    off = await change(admin, "openai/dall-e-2", "disable")
    await taken()
    answer = await client.post(PATH, json=wish)
    described = await client.get("/v1/models/dall-e-2")
    hidden = await listed_ids(client)
    await change(admin, "dall-e-2", "enable")
    await taken()

    assert (off["id"], off["rule"]["rule"], off["served_by"]) == ("openai/dall-e-2", "disabled", None)
    assert off["available"] is False
    assert answer.status_code == described.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "openai/dall-e-2 is disabled" in answer.json()["error"]["message"]
    assert "openai/dall-e-2" not in hidden
    assert "openai/dall-e-2" in await listed_ids(client)
    assert (await client.post(PATH, json=wish)).status_code == 200
    assert len(fake.requests) == 2
    assert await account.balance() == (LIVE_TOKENS - 2 * COST, 0)
    assert await actions(admin, "openai/dall-e-2") == ["models.disable", "models.enable"]


async def test_a_redirected_models_requests_are_served_and_priced_as_the_targets(
    admin: AsyncClient, client: AsyncClient, account: Account, fake: FakeProvider, taken: Taken
) -> None:
    wish = {"prompt": "a cat", "model": MINI, "size": "1024x1024", "quality": "medium"}
    before = (await client.post(PATH, json=wish)).json()["metadata"]
    spent = LIVE_TOKENS - (await account.balance())[0]

    changed = await change(admin, MINI_ID, "redirect", target="dall-e-3")
    await taken()
    answer = await client.post(PATH, json=wish)
    described = (await client.get(f"/v1/models/{MINI}")).json()

    assert (before["model"], before["charged_tokens"]) == (MINI_ID, spent)
    assert (changed["id"], changed["rule"]["target"], changed["served_by"]) == (MINI_ID, DALLE3, DALLE3)
    after = answer.json()["metadata"]
    assert (after["model"], answer.headers["x-imagegate-model"]) == (DALLE3, DALLE3)
    assert after["charged_tokens"] == 40_000 != spent
    assert await account.balance() == (LIVE_TOKENS - spent - 40_000, 0)
    assert (described["id"], described["redirected_to"]) == (MINI_ID, DALLE3)
    target = (await client.get("/v1/models/dall-e-3")).json()
    assert [described[name] for name in ("pricing", "sizes")] == [
        target[name] for name in ("pricing", "sizes")
    ]
    assert (target["redirected_to"], target["id"]) == (None, DALLE3)


async def test_an_alias_is_a_name_for_callers_and_operators(
    admin: AsyncClient, test_client: AsyncClient, taken: Taken
) -> None:
    given = await change(admin, MINI, "alias", alias="shop/pretty")
    await taken()
    wish = {"prompt": "a cat", "size": "256x256"}

    answers = [
        await test_client.post(PATH, json={**wish, "model": name})
        for name in ("shop/pretty", "openai:shop/pretty")
    ]
    described = (await test_client.get("/v1/models/shop/pretty")).json()
    shown = (await admin.get("/models/shop/pretty")).json()
    prices = (await admin.get("/prices/shop/pretty")).json()["data"]
    gone = await admin.post("/models/shop/pretty/unalias", json=WHY)
    await taken()

    assert given["aliases"] == ["shop/pretty"]
    assert [answer.json()["metadata"]["model"] for answer in answers] == [MINI_ID, MINI_ID]
    assert "shop/pretty" in described["aliases"]
    assert described["id"] == shown["id"] == prices[-1]["model"] == MINI_ID
    assert (gone.json()["rule"], gone.json()["target"]) == ("alias", MINI_ID)
    answer = await test_client.post(PATH, json={**wish, "model": "shop/pretty"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert await refused(admin, "shop/pretty", "unalias") == (404, "not_found", None)
    assert await actions(admin, "shop/pretty") == ["models.alias", "models.unalias"]


async def test_again_is_no_error_and_leaves_no_entry(admin: AsyncClient, taken: Taken) -> None:
    for _ in range(2):
        await change(admin, MINI, "disable")
    for _ in range(2):
        await change(admin, MINI, "redirect", target="dall-e-3")
        await change(admin, MINI, "alias", alias="pretty")
    rules = (await admin.get("/models/rules")).json()["data"]
    for _ in range(2):
        await change(admin, MINI, "enable")

    kinds = ["models.disable", "models.redirect", "models.enable"]
    assert await actions(admin, MINI_ID) == kinds
    assert [(r["name"], r["rule"], r["target"]) for r in rules] == [
        (MINI_ID, "redirect", DALLE3),
        ("pretty", "alias", MINI_ID),
    ]
    assert {(r["reason"], r["actor"]) for r in rules} == {("a test", f"operator:{admin.headers['x-name']}")}
    entry = (await admin.get("/audit", params={"action": "models.redirect"})).json()["data"][0]
    assert entry["detail"]["before"] == {"rule": "disabled", "target": None}
    assert entry["detail"]["after"] == {"rule": "redirect", "target": DALLE3}


async def test_what_would_lead_nowhere_is_refused(admin: AsyncClient, taken: Taken) -> None:
    await change(admin, MINI, "redirect", target="gpt-image-2")
    await change(admin, "recraftv4", "disable")

    for target in (MINI, "gpt-image-2"):
        assert await refused(admin, "gpt-image-2", "redirect", target=target) == (
            400,
            "invalid_value",
            "target",
        )
    circle = await admin.post(
        "/models/gpt-image-2.5-flare/redirect", json={**WHY, "target": "openai/dall-e-3"}
    )
    assert (circle.status_code, "circle" in circle.json()["detail"]) == (400, True)
    assert await refused(admin, "gpt-image-2", "redirect", target="recraftv4") == (
        400,
        "invalid_value",
        "target",
    )
    assert await refused(admin, MINI, "redirect", target="gpt-9") == (404, "model_not_found", "target")
    assert await refused(admin, "gpt-9", "disable") == (404, "model_not_found", "model")
    assert await refused(admin, f"openai:{MINI}", "disable") == (400, "invalid_value", "model")
    assert len((await admin.get("/models/rules")).json()["data"]) == 2


@pytest.mark.parametrize(
    "alias", ["dall-e-3", "DALL-E-3", "openai/dall-e-3", "auto", "a b", "a:b", "", "/a", "ä", "x" * 101]
)
async def test_an_alias_is_a_name_that_nobody_has(admin: AsyncClient, taken: Taken, alias: str) -> None:
    status, _, param = await refused(admin, MINI, "alias", alias=alias)

    assert (status, param) == (400, "alias")
    assert (await admin.get("/models/rules")).json()["data"] == []


async def test_models_are_listed_with_their_rule_and_price(admin: AsyncClient, taken: Taken) -> None:
    await change(admin, "dall-e-2", "disable")

    models = {model["id"]: model for model in (await admin.get("/models")).json()["data"]}

    assert (models["openai/dall-e-2"]["rule"]["reason"], models["openai/dall-e-2"]["served_by"]) == (
        "a test",
        None,
    )
    dalle3 = models[DALLE3]
    assert (dalle3["rule"], dalle3["served_by"], dalle3["retired"]) == (None, DALLE3, True)
    assert (dalle3["price_from_tokens"], dalle3["available"]) == (40_000, True)
    assert (await admin.get(f"/models/{DALLE3}")).json() == dalle3
    assert (await admin.get("/models/acme/none")).json()["code"] == "model_not_found"


async def test_two_redirects_at_once_make_no_circle(admin: AsyncClient, taken: Taken) -> None:
    pairs = ((MINI, "gpt-image-2"), ("gpt-image-2", MINI))

    answers = await asyncio.gather(
        *(admin.post(f"/models/{a}/redirect", json={**WHY, "target": b}) for a, b in pairs)
    )

    assert sorted(answer.status_code for answer in answers) == [200, 400]


async def test_accepted_work_is_finished_though_its_model_is_disabled(
    admin: AsyncClient,
    services: Services,
    account: Account,
    engine: AsyncEngine,
    serve: Callable[[Services], Awaitable[str]],
    taken: Taken,
) -> None:
    slow = SlowProvider()
    await die_after_it_is_accepted(services, account, slow, serve)
    await change(admin, "dall-e-2", "disable")
    await taken()

    async with another_worker(services, slow) as heir:
        found = await recovery.sweep(heir, Deaths(0))
        slow.ready.set()
        row = await until_state(engine, account, "captured")

    assert (found, row.model, slow.submitted) == (1, "openai/dall-e-2", ["job-0"])
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_a_disabled_model_needs_no_price(admin: AsyncClient, taken: Taken) -> None:
    async def unpriced() -> set[str]:
        found = (await admin.get("/prices/check", params={"everything": True})).json()["findings"]
        return {finding["model"] for finding in found if finding["kind"] == "unpriced"}

    before = await unpriced()
    await change(admin, "recraftv4_1_flash", "disable")

    assert before - await unpriced() == {"recraft/recraftv4_1_flash"}


async def test_openapi_tells_the_paths_and_bodies_of_rules(services: Services) -> None:
    paths = create_app(services=services).api.openapi()["paths"]

    for verb in ("disable", "enable", "redirect", "alias"):
        operation = paths[f"/admin/v1/models/{{model}}/{verb}"]["post"]
        (named,) = operation["parameters"]
        assert (named["name"], named["in"], named["required"]) == ("model", "path", True)
        assert "models:write" in operation["description"]
    body = paths["/admin/v1/models/{model}/redirect"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["required"] == ["reason", "target"]
    assert [path for path in paths if ":path" in path and path.startswith("/admin")] == []
