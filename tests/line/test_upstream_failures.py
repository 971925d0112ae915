"""What a provider does wrong is classified, answered plainly, asked again only where that is safe, and never paid."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import (
    CloseAfterRequest,
    HalfClose,
    Hang,
    Images,
    Refuse,
    Reset,
    Status,
    Truncated,
    Verb,
    empty,
    garbage,
    wrong_type,
)

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox", "model": "gpt-image-2.5-flare", "quality": "low", "size": "1024x1024"}
QUICK = {"retry_after_ms": "1"}

CASES: list[tuple[Verb, int, str, list[str], str]] = [
    (Status(401, code="invalid_api_key"), 502, "all_providers_failed", ["REFUSED_UNBILLED"], "lost"),
    (Status(403), 502, "all_providers_failed", ["REFUSED_UNBILLED"], "lost"),
    (Status(404, code="model_not_found"), 502, "all_providers_failed", ["REFUSED_UNBILLED"], "lost"),
    (Status(429, headers=QUICK), 502, "all_providers_failed", ["REFUSED_UNBILLED"] * 2, "lost"),
    (Status(503, headers=QUICK), 502, "all_providers_failed", ["REFUSED_UNBILLED"] * 2, "lost"),
    (Status(500), 502, "all_providers_failed", ["REFUSED_UNBILLED"], "lost"),
    (Status(500, b"<html>oops</html>"), 504, "upstream_timeout", ["AMBIGUOUS"], "final"),
    (Status(504), 504, "upstream_timeout", ["AMBIGUOUS"], "final"),
    (Status(400, code="invalid_value"), 400, "rejected_by_provider", ["REJECTED"], "final"),
    (Refuse(), 400, "moderation_blocked", ["REJECTED"], "final"),
    (empty(), 502, "all_providers_failed", ["BILLED_INVALID"], "final"),
    (garbage(), 504, "upstream_timeout", ["AMBIGUOUS"], "final"),
    (wrong_type(), 504, "upstream_timeout", ["AMBIGUOUS"], "final"),
    (Truncated(), 504, "upstream_timeout", ["AMBIGUOUS"], "final"),
    (CloseAfterRequest(), 504, "upstream_timeout", ["AMBIGUOUS"], "final"),
    (HalfClose(), 504, "upstream_timeout", ["AMBIGUOUS"], "final"),
    (Reset(), 504, "upstream_timeout", ["AMBIGUOUS"], "final"),
]


async def outcome(engine: AsyncEngine, account: Account) -> tuple[str, str, list[str]]:
    """The state and outcome of the account's one generation, and the classes of its attempts."""
    async with engine.connect() as connection:
        found = text("SELECT id, state, outcome FROM generations WHERE account_id = :account")
        row = (await connection.execute(found, {"account": account.id})).one()
        tried = text("SELECT class FROM attempts WHERE generation_id = :id ORDER BY seq")
        return row.state, row.outcome, list((await connection.execute(tried, {"id": row.id})).scalars())


@pytest.mark.parametrize(("verb", "status", "code", "classes", "ended"), CASES)
async def test_every_failure_has_one_class_and_costs_nothing(
    client: AsyncClient,
    account: Account,
    engine: AsyncEngine,
    fake: FakeProvider,
    verb: Verb,
    status: int,
    code: str,
    classes: list[str],
    ended: str,
) -> None:
    fake.default = verb

    response = await client.post(PATH, json=BODY)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert await outcome(engine, account) == ("voided", ended, classes)
    assert len(fake.requests) == len(classes)
    assert await account.balance() == (LIVE_TOKENS, 0)
    assert "sk-test" not in response.text


async def test_a_busy_provider_is_asked_once_more_and_then_draws(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    fake.then(Status(429, headers=QUICK), Images())

    response = await client.post(PATH, json=BODY)

    assert response.status_code == 200
    assert [a["class"] for a in response.json()["metadata"]["attempts"]] == ["REFUSED_UNBILLED", "DELIVERED"]
    assert await account.balance() == (LIVE_TOKENS - 5_880, 0)


async def test_a_provider_that_never_answers_ends_at_the_deadline(
    services: Services, account: Account, fake: FakeProvider, serve: Callable[[Services], Awaitable[str]]
) -> None:
    fake.default = Hang()
    hasty = replace(services, settings=services.settings.model_copy(update={"deadline_s": 0.4}))

    async with AsyncClient(base_url=await serve(hasty), headers={"api-key": account.key}, timeout=30) as http:
        response = await http.post(PATH, json=BODY)

    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    assert response.headers["x-should-retry"] == "false"
    assert len(fake.requests) == 1


async def test_a_cdn_safe_gateway_answers_424_instead_of_502(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]]
) -> None:
    safe = replace(services, settings=services.settings.model_copy(update={"cdn_safe_status": True}))

    async with AsyncClient(base_url=await serve(safe), headers={"api-key": account.key}, timeout=30) as http:
        response = await http.post(PATH, json={"prompt": "[[fail:503]]", "model": "sandbox"})

    assert (response.status_code, response.json()["error"]["code"]) == (424, "all_providers_failed")


async def test_more_images_than_asked_are_all_stored_and_billed_within_the_hold(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    fake.then(Images(count=3))

    response = await client.post(PATH, json=BODY)

    assert len(response.json()["data"]) == 3
    assert response.json()["metadata"]["charged_tokens"] == 5_880
    assert await account.balance() == (LIVE_TOKENS - 5_880, 0)
