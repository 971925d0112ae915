"""A model by policy: of the request, of its key, or of the gateway."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import keys as admin_keys
from imagegate.catalogue.preferences import Preference
from imagegate.catalogue.prices import PriceBook
from imagegate.identity.audit import Actor
from imagegate.identity.keys import KeyCache
from imagegate.services import Services
from imagegate.settings import RoutingPolicy
from tests.conftest import LIVE_TOKENS, Account, fresh, open_account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status
from tests.line.routes import COPY, COST, MODEL, PATH, sold_twice

Serve = Callable[[Services], Awaitable[str]]
SANDBOX, OTHER = "imagegate/sandbox", "openai/gpt-image-2"
WISH: dict[str, Any] = {"prompt": "a fox", "size": "1024x1024"}


@pytest.fixture
def copy(compatible_server: FakeProvider) -> FakeProvider:
    return fresh(compatible_server)


@pytest.fixture
async def other(services: Services, engine: AsyncEngine) -> Account:
    """Somebody whose keys have no policy."""
    return await open_account(services, engine)


async def set_routing(services: Services, account: Account, policy: RoutingPolicy) -> None:
    """Of the account's live key, before it is used."""
    found = await KeyCache(services.engine, services.keyring).find(account.key)
    async with services.engine.begin() as tx:
        by = Actor("cli:tests", "a test")
        await admin_keys.set_policy(tx, str(found.key_id), "routing", policy, by)


async def ask(url: str, account: Account, key: str | None = None, **said: Any) -> Response:
    headers = {"x-api-key": account.key, **({"idempotency-key": key} if key else {})}
    async with AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        return await http.post(PATH, json=WISH | said)


async def estimate(url: str, account: Account, **said: Any) -> dict[str, Any]:
    async with AsyncClient(base_url=url, headers={"x-api-key": account.key}, timeout=30) as http:
        response = await http.post(f"{PATH}?dryRun=true", json=WISH | said)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


async def held_by_name(url: str, account: Account) -> dict[str, int]:
    """What WISH would hold at each model that stays, the sandbox not among them; who cannot draw it is left out."""
    async with AsyncClient(base_url=url, headers={"x-api-key": account.key}, timeout=30) as http:
        listed = (await http.get("/v1/models")).json()["data"]
        asked = {
            model["id"]: await http.post(f"{PATH}?dryRun=true", json=WISH | {"model": model["id"]})
            for model in listed
            if model["id"] != SANDBOX and not model["successor"]
        }
    return {name: r.json()["hold_tokens"] for name, r in asked.items() if r.status_code == 200}


def favour(gateway: Services, model: str) -> None:
    """The model alone has a weight, and the best rank."""
    now = datetime.now(UTC)
    gateway.catalogue.preferences.replace(
        Preference(name, "", 1 if name == model else 9, int(name == model), "a test", "tests", now)
        for name in gateway.catalogue.models
    )


async def test_without_a_model_the_key_s_policy_chooses_and_the_next_key_has_the_default(
    services: Services, account: Account, other: Account, base_url: str
) -> None:
    await set_routing(services, account, "cheapest")
    held = await held_by_name(base_url, other)

    by_key = [await estimate(base_url, account, **said) for said in ({}, {"model": "auto"})]
    by_default = await estimate(base_url, other)

    assert len(set(held.values())) > 1
    for told in by_key:
        assert (told["hold_tokens"], held[told["model"]]) == (min(held.values()),) * 2
    assert by_default["model"] == SANDBOX


async def test_a_request_s_own_policy_goes_before_its_key_s(
    services: Services, account: Account, serve: Serve
) -> None:
    await set_routing(services, account, "cheapest")
    gateway = sold_twice(services)
    favour(gateway, OTHER)
    url = await serve(gateway)

    by_key = (await estimate(url, account))["model"]
    by_request = [(await estimate(url, account, routing=p))["model"] for p in ("best", "balanced")]
    by_name = (await estimate(url, account, model="auto:best"))["model"]
    default = [(await estimate(url, account, **d))["model"] for d in CATALOGUE]

    assert by_key not in (OTHER, SANDBOX)
    assert (by_request, by_name) == ([OTHER, OTHER], OTHER)
    assert default == [SANDBOX, SANDBOX]


CATALOGUE = ({"routing": "catalogue"}, {"model": "auto:catalogue"})


async def test_a_named_model_is_drawn_by_those_that_the_key_s_policy_puts_first(
    services: Services, account: Account, other: Account, serve: Serve
) -> None:
    await set_routing(services, account, "cheapest")
    url = await serve(sold_twice(services))

    by_key = await estimate(url, account, model=MODEL)
    by_request = await estimate(url, account, model=MODEL, routing="catalogue")
    plain = await estimate(url, other, model=MODEL)

    assert by_key["providers"] == ["openai_compatible", "openai"]
    assert by_request["providers"] == plain["providers"] == ["openai", "openai_compatible"]
    assert by_key["model"] == plain["model"] == MODEL


async def test_the_gateway_s_default_may_be_a_policy(
    services: Services, account: Account, other: Account, serve: Serve
) -> None:
    await set_routing(services, other, "catalogue")
    gateway = sold_twice(services, default_model="auto:best")
    favour(gateway, OTHER)
    url = await serve(gateway)

    said = ({}, {"model": "auto"}, *CATALOGUE)
    told = [(await estimate(url, account, **wish))["model"] for wish in said]
    of_catalogue = (await estimate(url, other))["model"]

    assert (told, of_catalogue) == ([OTHER] * 4, OTHER)


async def test_a_model_is_as_fast_as_its_fastest_offering(
    services: Services, account: Account, serve: Serve
) -> None:
    gateway = sold_twice(services)
    shelf = gateway.catalogue.shelves["live"]
    for model, provider, upstream, p50_s in (
        (MODEL, "openai", shelf[MODEL][0].upstream_model, 9.0),
        (MODEL, "openai_compatible", COPY, 2.0),
        (OTHER, "openai", shelf[OTHER][0].upstream_model, 4.0),
    ):
        assert model in shelf
        gateway.health.of(provider, upstream).measured(p50_s)

    told = await estimate(await serve(gateway), account, model="auto:fastest")

    assert told["model"] == MODEL


async def test_only_a_model_that_can_do_what_is_asked_is_chosen(
    services: Services, account: Account, serve: Serve
) -> None:
    gateway = sold_twice(services)
    favour(gateway, OTHER)
    url = await serve(gateway)

    free = await estimate(url, account, model="auto:best")
    seeded = await estimate(url, account, model="auto:best", seed=7, strict=True)
    named = await ask(url, account, model=OTHER, seed=7, strict=True)

    assert (free["model"], named.status_code) == (OTHER, 400)
    assert (seeded["model"], seeded["providers"]) == (MODEL, ["openai_compatible"])


async def test_what_no_model_can_do_holds_nothing(
    services: Services, account: Account, base_url: str
) -> None:
    response = await ask(base_url, account, model="auto:cheapest", thinking="high", strict=True, seed=1)

    error = response.json()["error"]
    assert response.status_code == 400, response.text
    assert error["message"].startswith("No model that this gateway can reach serves such a request. ")
    assert error["param"] in ("thinking", "seed")
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_repetition_stays_with_the_model_that_was_chosen(
    services: Services, account: Account, serve: Serve, fake: FakeProvider, copy: FakeProvider
) -> None:
    gateway = sold_twice(services)
    url, said = await serve(gateway), {"model": "auto:balanced", "quality": "low"}
    favour(gateway, MODEL)
    fake.default = copy.default = Status(500)

    lost = await ask(url, account, "order-1", **said)
    favour(gateway, OTHER)
    for provider in (fake, copy):
        fresh(provider)
    by_now = await estimate(url, account, **said)
    again = await ask(url, account, "order-1", **said)

    assert (lost.status_code, by_now["model"]) == (502, OTHER)
    assert again.status_code == 200, again.text
    made = again.json()["metadata"]
    assert (made["model"], made["charged_tokens"]) == (MODEL, COST)
    assert made["id"] in lost.json()["error"]["message"]
    upstream = gateway.catalogue.shelves["live"][MODEL][0].upstream_model
    assert [request.body["model"] for request in fake.requests] == [upstream]
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_a_repetition_whose_model_nobody_sells_just_now_holds_nothing_and_may_come_again(
    services: Services, account: Account, serve: Serve, fake: FakeProvider, copy: FakeProvider
) -> None:
    before = sold_twice(services)
    favour(before, MODEL)
    fake.default = copy.default = Status(500)
    shelves = before.catalogue.shelves
    unsold = {**shelves, "live": {**shelves["live"], MODEL: ()}}
    after = replace(
        before, catalogue=replace(before.catalogue, shelves=unsold), prices=PriceBook(services.prices.current)
    )
    url = await serve(before)

    lost = await ask(url, account, "order-2", model="auto:balanced", quality="low")
    for provider in (fake, copy):
        fresh(provider)
    again = await ask(await serve(after), account, "order-2", model="auto:balanced", quality="low")

    held = await account.balance()
    back = await ask(url, account, "order-2", model="auto:balanced", quality="low")

    assert lost.status_code == 502
    assert (again.status_code, again.json()["error"]["code"]) == (503, "no_provider_configured")
    assert held == (LIVE_TOKENS, 0)
    assert (back.status_code, back.json()["metadata"]["model"]) == (200, MODEL)
