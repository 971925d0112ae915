"""A caller's own provider key: it goes to the provider that the caller names, pays there, and is kept nowhere."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from imagegate.identity.credentials import CredentialBook
from imagegate.registry import access_to, places_of
from imagegate.services import Services
from imagegate.settings import ProviderSettings
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import CloseAfterRequest, Status

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox", "model": "openai:gpt-image-2.5-flare", "quality": "low", "size": "1024x1024"}
OURS, THEIRS = "sk-ours-0123456789", "sk-canary-9876543210"
HEADERS = {"x-provider-key": THEIRS}
Serve = Callable[[Services], Awaitable[str]]


@pytest.fixture
async def keyless() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(key=None) as fake:
        yield fake


def gateway(services: Services, fake: FakeProvider, **settings: Any) -> Services:
    openai = ProviderSettings(fake.base_url, SecretStr(OURS))
    changed = services.settings.model_copy(update={"providers": {"openai": openai}, **settings})
    places = places_of(services.catalogue, changed)
    book = CredentialBook(access_to(services.catalogue, changed), places=places)
    return replace(services, settings=changed, credentials=book)


async def speaking(served: str, account: Account, key: str | None = None) -> AsyncClient:
    return AsyncClient(base_url=served, headers={"authorization": f"Bearer {key or account.key}"}, timeout=30)


async def everything(engine: AsyncEngine) -> str:
    """All rows of all tables, as text."""
    async with engine.connect() as connection:
        tables = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        found = []
        for (name,) in tables.all():
            found += (await connection.execute(text(f'SELECT t::text FROM "{name}" t'))).scalars().all()
    return "\n".join(found)


async def test_it_goes_to_the_named_provider_costs_the_fee_and_is_kept_nowhere(
    services: Services, account: Account, keyless: FakeProvider, serve: Serve, engine: AsyncEngine
) -> None:
    made = gateway(services, keyless, own_key_fee_tokens=7)
    with capture_logs() as logs:
        async with await speaking(await serve(made), account) as http:
            drawn = await http.post(PATH, json=BODY, headers=HEADERS)
            dry = await http.post(f"{PATH}?dryRun=true", json=BODY, headers=HEADERS)
            metrics = await http.get("/metrics")

    assert drawn.status_code == 200, drawn.text
    assert keyless.requests[-1].headers["authorization"] == f"Bearer {THEIRS}"
    assert len(keyless.requests) == 1
    assert drawn.json()["metadata"]["charged_tokens"] == dry.json()["hold_tokens"] == 7
    assert await account.balance() == (LIVE_TOKENS - 7, 0)
    for said in (drawn.text, dry.text, metrics.text, str(logs), str(drawn.headers), await everything(engine)):
        assert THEIRS not in said


async def test_without_a_fee_nothing_is_charged_and_the_next_request_pays_with_our_key(
    services: Services, account: Account, keyless: FakeProvider, serve: Serve
) -> None:
    async with await speaking(await serve(gateway(services, keyless)), account) as http:
        free = await http.post(PATH, json=BODY, headers=HEADERS)
        paid = await http.post(PATH, json=BODY)

    assert [free.json()["metadata"]["charged_tokens"], paid.json()["metadata"]["charged_tokens"]] == [
        0,
        5_880,
    ]
    keys = [request.headers["authorization"] for request in keyless.requests]
    assert keys == [f"Bearer {THEIRS}", f"Bearer {OURS}"]


@pytest.mark.parametrize("header", ["x-provider-key", "LB-LLM-Key"])
async def test_a_key_that_the_provider_refuses_is_the_callers_to_know(
    services: Services, account: Account, keyless: FakeProvider, serve: Serve, header: str
) -> None:
    keyless.then(Status(401, code="invalid_api_key"))
    async with await speaking(await serve(gateway(services, keyless)), account) as http:
        refused = await http.post(PATH, json=BODY, headers={header: THEIRS})
        with_ours = await http.post(PATH, json=BODY)

    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "provider_key_rejected")
    assert THEIRS not in refused.text
    assert with_ours.status_code == 200, "our own key was put out for a stranger's"
    assert len(keyless.requests) == 2


async def test_a_doubt_costs_the_operator_nothing(
    services: Services, account: Account, keyless: FakeProvider, serve: Serve, engine: AsyncEngine
) -> None:
    keyless.then(CloseAfterRequest())
    async with await speaking(await serve(gateway(services, keyless)), account) as http:
        doubtful = await http.post(PATH, json=BODY, headers=HEADERS)

    async with engine.connect() as connection:
        query = text("SELECT at_risk_usd, cost_usd, credential_id FROM attempts WHERE account_id = :id")
        row = (await connection.execute(query, {"id": account.id})).one()
    assert doubtful.status_code == 504
    assert tuple(row) == (None, None, "own")
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    ("model", "key", "code"),
    [
        ("gpt-image-2.5-flare", "live", "provider_required"),
        ("auto:cheapest", "live", "provider_required"),
        ("gpt-image-2.5-flare", "test", "provider_required"),
    ],
)
async def test_it_needs_a_named_provider(
    services: Services, account: Account, keyless: FakeProvider, serve: Serve, model: str, key: str, code: str
) -> None:
    shown = account.key if key == "live" else account.test_key
    async with await speaking(await serve(gateway(services, keyless)), account, shown) as http:
        refused = await http.post(PATH, json={**BODY, "model": model}, headers=HEADERS)

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code), refused.text
    assert keyless.requests == []


async def test_a_provider_of_which_we_have_no_key_can_be_asked_with_the_callers(
    services: Services, account: Account, keyless: FakeProvider, serve: Serve
) -> None:
    made = gateway(services, keyless)
    openai = ProviderSettings(keyless.base_url)
    changed = made.settings.model_copy(update={"providers": {"openai": openai}})
    book = CredentialBook(
        access_to(services.catalogue, changed), places=places_of(services.catalogue, changed)
    )
    async with await speaking(
        await serve(replace(made, settings=changed, credentials=book)), account
    ) as http:
        without = await http.post(PATH, json=BODY)
        drawn = await http.post(PATH, json=BODY, headers=HEADERS)

    assert (without.status_code, drawn.status_code) == (503, 200)


async def test_under_a_test_key_the_sandbox_draws_at_the_same_fee_and_says_so(
    services: Services, account: Account, keyless: FakeProvider, serve: Serve
) -> None:
    made = gateway(services, keyless, own_key_fee_tokens=7)
    async with await speaking(await serve(made), account, account.test_key) as http:
        drawn = await http.post(PATH, json={**BODY, "strict": True}, headers=HEADERS)

    metadata = drawn.json()["metadata"]
    assert (metadata["provider"], metadata["charged_tokens"]) == ("sandbox", 7)
    assert metadata["parameters"]["x-provider-key"]["treatment"] == "emulated"
    assert keyless.requests == []
