"""Providers over HTTP: their keys added, revoked and tested, and nothing of a key shown but its end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import operators
from imagegate.identity.audit import Actor
from imagegate.identity.credentials import CredentialBook
from imagegate.identity.operators import SCOPES
from imagegate.identity.sealing import seal
from imagegate.ids import new_id
from imagegate.registry import access_to
from imagegate.services import Services
from imagegate.settings import ProviderSettings
from tests.fake_provider import KEY, FakeProvider

PLAIN, OTHER = "rk-0123456789abcdefWXYZ", "rk-0123456789abcdefQRST"
WHY = {"reason": "a test"}

Serve = Callable[[Services], Awaitable[str]]


@pytest.fixture(autouse=True)
async def forgotten(services: Services, engine: AsyncEngine) -> AsyncIterator[None]:
    """After each test the gateway knows no key and no rule of a provider."""
    yield
    async with engine.begin() as tx:
        await tx.execute(text("DELETE FROM provider_keys"))
        await tx.execute(text("DELETE FROM provider_rules"))
        await tx.execute(text("UPDATE versions SET n = n + 1 WHERE name = 'providers'"))
    await until_known(services, "recraft", 0)


async def until_known(services: Services, provider: str, keys: int) -> None:
    """Wait until the gateway has so many keys of a provider."""
    async with asyncio.timeout(10):
        while True:
            access = services.credentials.found.get(provider)
            if (len(access.keys) if access else 0) == keys:
                return
            await asyncio.sleep(0.02)


async def add(admin: AsyncClient, name: str, key: str, provider: str = "recraft") -> dict[str, Any]:
    response = await admin.post(f"/providers/{provider}/keys", json={"name": name, "key": key, **WHY})
    assert response.status_code == 201, response.text
    added: dict[str, Any] = response.json()
    return added


async def audited(admin: AsyncClient, action: str) -> list[dict[str, Any]]:
    params = {"action": action, "actor": f"operator:{admin.headers['x-name']}"}
    entries: list[dict[str, Any]] = (await admin.get("/audit", params=params)).json()["data"]
    return entries


async def test_providers_are_listed_with_what_they_need_and_the_ends_of_their_keys(
    admin: AsyncClient,
) -> None:
    listed = {provider["name"]: provider for provider in (await admin.get("/providers")).json()["data"]}

    openai, bfl, azure = listed["openai"], listed["bfl"], listed["azure_openai"]
    assert (openai["configured"], openai["enabled"], openai["available"]) == (True, True, True)
    assert [(key["id"], key["hint"], key["state"]) for key in openai["keys"]] == [
        ("env:1", KEY[-4:], "ready")
    ]
    assert "openai/gpt-image-2.5-flare" in openai["models"]
    assert (bfl["available"], bfl["missing"]) == (False, ["IMAGEGATE_BFL_API_KEY"])
    assert azure["missing"] == ["IMAGEGATE_AZURE_OPENAI_BASE_URL", "IMAGEGATE_AZURE_OPENAI_API_KEY"]
    assert listed["sandbox"]["available"] is True
    assert KEY not in str(listed)


async def test_a_first_key_makes_a_provider_available_and_a_revoked_one_is_deleted(
    admin: AsyncClient, services: Services, engine: AsyncEngine
) -> None:
    added = await add(admin, "first", f" {PLAIN} ")
    await until_known(services, "recraft", 1)
    shown = (await admin.get("/providers/recraft")).json()
    revoked = (await admin.post(f"/providers/keys/{added['id']}/revoke", json=WHY)).json()
    again = await admin.post(f"/providers/keys/{added['id']}/revoke", json=WHY)
    await until_known(services, "recraft", 0)
    after = (await admin.get("/providers/recraft")).json()

    assert (added["provider"], added["name"], added["hint"], added["state"]) == (
        "recraft",
        "first",
        "WXYZ",
        "ready",
    )
    assert shown["available"] is True
    assert [key["id"] for key in shown["keys"]] == [added["id"]]
    assert (revoked["state"], again.json()) == ("revoked", revoked)
    assert (after["available"], [key["state"] for key in after["keys"]]) == (False, ["revoked"])
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT sealed FROM provider_keys"))).scalar_one() == b""
    (entry,) = await audited(admin, "providers.add_key")
    assert entry["detail"] == {"provider": "recraft", "name": "first", "hint": "WXYZ"}
    assert len(await audited(admin, "providers.revoke_key")) == 1


@pytest.mark.parametrize(
    ("provider", "body", "status", "code", "param"),
    [
        ("recraft", {"name": "first", "key": OTHER}, 409, "provider_key_exists", None),
        ("recraft", {"name": "second", "key": PLAIN}, 409, "provider_key_exists", None),
        ("recraft", {"name": "second", "key": "one,two"}, 400, "invalid_value", "key"),
        ("recraft", {"name": "second", "key": "one two"}, 400, "invalid_value", "key"),
        ("recraft", {"name": "second", "key": "ключ"}, 400, "invalid_value", "key"),
        ("recraft", {"name": " ", "key": OTHER}, 400, "invalid_value", "name"),
        ("nobody", {"name": "first", "key": OTHER}, 404, "not_found", None),
    ],
)
async def test_what_cannot_be_kept_is_refused_and_not_repeated(
    admin: AsyncClient, provider: str, body: dict[str, str], status: int, code: str, param: str | None
) -> None:
    await add(admin, "first", PLAIN)

    refused = await admin.post(f"/providers/{provider}/keys", json={**body, **WHY})

    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["param"]) == (status, code, param)
    assert body["key"] not in refused.text
    assert len(await audited(admin, "providers.add_key")) == 1


async def test_a_key_of_the_environment_is_not_revoked_here(admin: AsyncClient) -> None:
    refused = await admin.post("/providers/keys/env:1/revoke", json=WHY)
    unknown = await admin.post("/providers/keys/pvk_0/revoke", json=WHY)

    assert (refused.status_code, refused.json()["param"]) == (400, "key")
    assert "environment" in refused.json()["detail"]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


async def test_a_key_sealed_under_another_secret_is_told_and_not_used(
    admin: AsyncClient, services: Services, engine: AsyncEngine
) -> None:
    id_ = new_id()
    sealed = seal((bytes(32),), PLAIN, id_.bytes + b"recraft")
    row = {"id": id_, "sealed": sealed}
    async with engine.begin() as tx:
        insert = "INSERT INTO provider_keys (id, provider, name, sealed, hint, created_by) "
        await tx.execute(text(insert + "VALUES (:id, 'recraft', 'old', :sealed, 'WXYZ', 'tests')"), row)
    good = await add(admin, "good", OTHER)
    await until_known(services, "recraft", 1)

    keys = (await admin.get("/providers/recraft")).json()["keys"]

    assert [(key["name"], key["state"], key["why"]) for key in keys] == [
        ("old", "unusable", "was sealed under another IMAGEGATE_SECRET"),
        ("good", "ready", None),
    ]
    assert services.credentials.pick("recraft").id == good["id"]


async def test_disabling_and_enabling_again_changes_nothing_and_is_not_recorded_twice(
    admin: AsyncClient,
) -> None:
    for verb in ("disable", "disable", "enable", "enable"):
        answer = (await admin.post(f"/providers/recraft/{verb}", json=WHY)).json()
        assert answer["enabled"] is (verb == "enable")

    (entry,) = await audited(admin, "providers.disable")
    assert entry["detail"] == {"before": {"enabled": True}, "after": {"enabled": False}}
    assert len(await audited(admin, "providers.enable")) == 1
    assert (await admin.post("/providers/nobody/disable", json=WHY)).status_code == 404


async def test_keys_are_tested_by_a_question_that_costs_nothing(
    services: Services, fake: FakeProvider, serve: Serve
) -> None:
    two = ProviderSettings(fake.base_url, SecretStr(f"{PLAIN},{OTHER}"))
    settings = services.settings.model_copy(update={"providers": {"openai": two}})
    book = CredentialBook(access_to(services.catalogue, settings))
    url = await serve(replace(services, settings=settings, credentials=book))
    async with services.engine.begin() as tx:
        pepper, by = services.keyring.key_pepper, Actor("cli:tests", "a test")
        _, plain = await operators.create_operator(tx, pepper, "tests-keys", SCOPES, None, by)
    headers, before = {"authorization": f"Bearer {plain}"}, len(fake.fetched)

    async with AsyncClient(base_url=f"{url}/admin/v1", headers=headers, timeout=30) as http:
        fake.pages["/v1/models"] = (200, {}, b"{}")
        accepted = (await http.post("/providers/openai/test", json={})).json()
        fake.pages["/v1/models"] = (401, {}, b"{}")
        refused = (await http.post("/providers/openai/test", json={})).json()
        del fake.pages["/v1/models"]
        silent = (await http.post("/providers/bfl/test", json={})).json()

    assert (accepted["ok"], [key["ok"] for key in accepted["keys"]]) == (True, [True, True])
    assert accepted["asked"] == f"GET {fake.base_url}/models"
    sent = sorted(request.headers["authorization"] for request in fake.fetched[before : before + 2])
    assert sent == [f"Bearer {OTHER}", f"Bearer {PLAIN}"]
    assert (refused["ok"], [key["status"] for key in refused["keys"]]) == (False, [401, 401])
    assert (silent["ok"], silent["keys"]) == (False, [])
    assert not any(key in str((accepted, refused)) for key in (PLAIN, OTHER))
    assert fake.requests == []
