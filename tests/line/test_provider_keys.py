"""Several keys at one provider, through the public door: limited and refused ones, sealed ones, a disabled provider."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from imagegate.admin import operators
from imagegate.generation import recovery
from imagegate.generation.recovery import Deaths
from imagegate.identity.audit import Actor
from imagegate.identity.credentials import CredentialBook
from imagegate.identity.operators import SCOPES
from imagegate.registry import access_to
from imagegate.routing.health import Health
from imagegate.services import Services, open_services
from imagegate.settings import ProviderSettings
from tests.conftest import LIVE_TOKENS, Account, listening
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, Verb
from tests.line.test_polled import SlowProvider, another_worker, die_after_it_is_accepted, until_state

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox", "model": "gpt-image-2.5-flare", "quality": "low", "size": "1024x1024"}
COST = 5_880
ONE, TWO, THREE = "sk-one-0123456789AAAA", "sk-two-0123456789BBBB", "sk-new-0123456789CCCC"
LIMITED = Status(429, headers={"retry-after": "20"})
REFUSED = Status(401, code="invalid_api_key")

Serve = Callable[[Services], Awaitable[str]]


@pytest.fixture
async def keyless() -> AsyncIterator[FakeProvider]:
    """A provider that takes every key, so that a test's script alone says which one it refuses."""
    async with FakeProvider(key=None) as fake:
        yield fake


def with_keys(services: Services, fake: FakeProvider, *keys: str) -> Services:
    """The gateway with these keys in its environment, and no memory of how its providers did."""
    openai = ProviderSettings(fake.base_url, SecretStr(",".join(keys)))
    settings = services.settings.model_copy(update={"providers": {"openai": openai}})
    book = CredentialBook(access_to(services.catalogue, settings))
    return replace(services, settings=settings, credentials=book, health=Health())


@asynccontextmanager
async def speaking(services: Services, account: Account) -> AsyncIterator[AsyncClient]:
    headers = {"authorization": f"Bearer {account.key}"}
    async with listening(services) as url, AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        yield http


def used(fake: FakeProvider) -> list[str]:
    """The keys of the requests so far."""
    return [request.headers["authorization"].removeprefix("Bearer ") for request in fake.requests]


def classes(response: Response) -> list[str]:
    return [attempt["class"] for attempt in response.json()["metadata"]["attempts"]]


async def credentials_of(engine: AsyncEngine, account: Account) -> list[str | None]:
    """Which key each attempt of the account was made with, oldest first."""
    query = text("SELECT credential_id FROM attempts WHERE account_id = :account ORDER BY started_at, seq")
    async with engine.connect() as connection:
        return list((await connection.execute(query, {"account": account.id})).scalars())


@pytest.mark.parametrize("first", [LIMITED, Status(503), REFUSED, Status(403)])
async def test_when_one_key_is_limited_or_refused_the_same_request_is_answered_with_another_at_once(
    services: Services, account: Account, engine: AsyncEngine, keyless: FakeProvider, first: Verb
) -> None:
    keyless.then(first)

    async with speaking(with_keys(services, keyless, ONE, TWO), account) as http:
        since = monotonic()
        response = await http.post(PATH, json=BODY)
        took_s = monotonic() - since
        again = await http.post(PATH, json=BODY)

    assert (response.status_code, again.status_code) == (200, 200)
    assert classes(response) == ["REFUSED_UNBILLED", "DELIVERED"]
    assert used(keyless) == [ONE, TWO, TWO]
    assert took_s < 5
    assert await credentials_of(engine, account) == ["env:1", "env:2", "env:2"]
    assert await account.balance() == (LIVE_TOKENS - 2 * COST, 0)


async def test_when_every_key_is_refused_the_request_fails_and_the_next_one_is_tried_all_the_same(
    services: Services, account: Account, keyless: FakeProvider
) -> None:
    keyless.then(REFUSED, REFUSED)

    with capture_logs() as lines:
        async with speaking(with_keys(services, keyless, ONE, TWO), account) as http:
            failed = await http.post(PATH, json=BODY)
            made = await http.post(PATH, json=BODY)

    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "all_providers_failed")
    assert made.status_code == 200
    assert used(keyless) == [ONE, TWO, ONE]
    told = [(line["key"], line["hint"]) for line in lines if line["event"] == "provider_key_refused"]
    assert told == [("env:1", "AAAA"), ("env:2", "BBBB")]
    assert not any(key in str(lines) + failed.text + made.text for key in (ONE, TWO))
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_a_provider_with_one_key_waits_for_it_as_before(
    services: Services, account: Account, keyless: FakeProvider
) -> None:
    keyless.then(Status(429, headers={"retry-after-ms": "30"}))

    async with speaking(with_keys(services, keyless, ONE), account) as http:
        response = await http.post(PATH, json=BODY)

    assert response.status_code == 200
    assert used(keyless) == [ONE, ONE]


@pytest.fixture
async def running(services: Services, engine: AsyncEngine, keyless: FakeProvider) -> AsyncIterator[Services]:
    """A gateway of its own, whose provider has a base URL and no key. Afterwards the database knows none either."""
    providers = {"openai": ProviderSettings(keyless.base_url)}
    async with open_services(services.settings.model_copy(update={"providers": providers})) as mine:
        yield mine
    async with engine.begin() as tx:
        await tx.execute(text("DELETE FROM provider_keys"))
        await tx.execute(text("DELETE FROM provider_rules"))
        await tx.execute(text("UPDATE versions SET n = n + 1 WHERE name = 'providers'"))
    async with asyncio.timeout(10):
        while "openai" not in services.credentials or len(services.credentials.found["openai"].keys) != 1:
            await asyncio.sleep(0.02)


async def an_operator(services: Services, base_url: str, name: str) -> AsyncClient:
    async with services.engine.begin() as tx:
        pepper, by = services.keyring.key_pepper, Actor("cli:tests", "a test")
        _, plain = await operators.create_operator(tx, pepper, name, SCOPES, None, by)
    headers = {"authorization": f"Bearer {plain}"}
    return AsyncClient(base_url=f"{base_url}/admin/v1", headers=headers, timeout=30)


async def asked_until(http: AsyncClient, status: int, longest_s: float = 2.0) -> Response:
    """The first answer with this status; a change is in force within two seconds."""
    async with asyncio.timeout(longest_s):
        while (response := await http.post(PATH, json=BODY)).status_code != status:
            await asyncio.sleep(0.05)
    return response


async def test_a_key_added_while_running_is_used_within_two_seconds_and_stands_nowhere_in_plain(
    running: Services, account: Account, engine: AsyncEngine, keyless: FakeProvider
) -> None:
    async with speaking(running, account) as http:
        with capture_logs() as lines:
            unconfigured = await http.post(PATH, json=BODY)
            admin = await an_operator(running, str(http.base_url), "adds-a-key")
            added = await admin.post(
                "/providers/openai/keys", json={"name": "new", "key": THREE, "reason": "a test"}
            )
            response = await asked_until(http, 200)
            told = [(await admin.get(path)).text for path in ("/providers", "/providers/openai", "/audit")]
            await admin.aclose()

    assert (unconfigured.status_code, unconfigured.json()["error"]["code"]) == (503, "no_provider_configured")
    assert (added.status_code, added.json()["hint"], added.json()["state"]) == (201, "CCCC", "ready")
    assert used(keyless) == [THREE]
    assert await credentials_of(engine, account) == [added.json()["id"]]
    async with engine.connect() as connection:
        tables = ("provider_keys", "audit_log", "attempts")
        stored = [str((await connection.execute(text(f"SELECT * FROM {t}"))).all()) for t in tables]
    for place in (*told, *stored, str(lines), added.text, response.text):
        assert THREE not in place
    assert '"providers.add_key"' in json.dumps(json.loads(told[2]))


async def test_a_disabled_provider_is_asked_by_nobody_until_it_is_enabled(
    running: Services, account: Account, keyless: FakeProvider
) -> None:
    async with speaking(running, account) as http:
        admin = await an_operator(running, str(http.base_url), "disables-a-provider")
        why: dict[str, Any] = {"reason": "a test"}
        await admin.post("/providers/openai/keys", json={"name": "new", "key": THREE, **why})
        await asked_until(http, 200)
        off = await admin.post("/providers/openai/disable", json=why)
        refused = await asked_until(http, 503)
        asked = len(keyless.requests)
        await admin.post("/providers/openai/enable", json=why)
        await asked_until(http, 200)
        await admin.aclose()

    assert (off.json()["enabled"], off.json()["available"]) == (False, False)
    assert refused.json()["error"]["code"] == "no_provider_configured"
    assert len(keyless.requests) == asked + 1


async def test_a_revoked_key_is_not_used_any_more(
    running: Services, account: Account, keyless: FakeProvider
) -> None:
    async with speaking(running, account) as http:
        admin = await an_operator(running, str(http.base_url), "revokes-a-key")
        why = {"reason": "a test"}
        added = await admin.post("/providers/openai/keys", json={"name": "new", "key": THREE, **why})
        await asked_until(http, 200)
        revoked = await admin.post(f"/providers/keys/{added.json()['id']}/revoke", json=why)
        response = await asked_until(http, 503)
        await admin.aclose()

    assert revoked.json()["state"] == "revoked"
    assert response.json()["error"]["code"] == "no_provider_configured"


async def test_work_that_was_accepted_is_asked_about_though_its_provider_is_disabled_and_its_key_gone(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    slow = SlowProvider()
    await die_after_it_is_accepted(services, account, slow, serve)
    slow.ready.set()
    async with engine.begin() as tx:
        gone = "UPDATE attempts SET credential_id = 'pvk_gone' WHERE account_id = :account"
        await tx.execute(text(gone), {"account": account.id})
    off = {name: replace(found, enabled=False) for name, found in services.credentials.found.items()}

    async with another_worker(services, slow) as heir:
        await recovery.sweep(replace(heir, credentials=CredentialBook(off)), Deaths(0))
        row = await until_state(engine, account, "captured")

    assert (row.epoch, slow.submitted) == (2, ["job-0"])
