"""The database, the store and the keys fail around the line: nothing is lost, nothing is charged."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import keys as admin_keys
from imagegate.catalogue import prices
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.errors import StorageUnavailable
from imagegate.identity import keys
from imagegate.identity.audit import Actor
from imagegate.ids import new_id
from imagegate.moderation.blocklist import Blocklist
from imagegate.moderation.panel import Panel
from imagegate.services import Services, forget_workers, open_services
from tests.conftest import LIVE_TOKENS, Account, listening, open_account
from tests.fake_provider import FakeProvider

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox", "model": "sandbox", "size": "256x256", "response_format": "url"}


class FullStore:
    """A store whose disk is full."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    async def put(self, name: str, data: bytes) -> None:
        raise StorageUnavailable

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


async def test_a_full_disk_is_an_error_and_charges_nothing(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]]
) -> None:
    full = replace(services, store=FullStore(services.store))  # type: ignore[arg-type]

    async with AsyncClient(base_url=await serve(full), headers={"api-key": account.key}, timeout=30) as http:
        response = await http.post(PATH, json=BODY)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "storage_unavailable")
    assert response.headers["x-should-retry"] == "true"
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_key_revoked_this_moment_spends_nothing_more(
    client: AsyncClient, account: Account, engine: AsyncEngine
) -> None:
    first = await client.post(PATH, json=BODY)
    async with engine.begin() as tx:
        listed = await keys.list_keys(tx, account.id)
        for key in listed:
            await admin_keys.revoke_key(tx, str(key.id), Actor("tests", "a test"))

    second = await client.post(PATH, json=BODY)

    assert [first.status_code, second.status_code] == [200, 401]
    assert second.json()["error"]["code"] == "invalid_api_key"
    assert await account.balance() == (LIVE_TOKENS - 5_000, 0)


async def test_a_price_set_by_the_operator_is_in_force_within_two_seconds(
    client: AsyncClient, account: Account, engine: AsyncEngine
) -> None:
    async with engine.begin() as tx:
        price = await prices.set_price(tx, "openai/gpt-image-1-mini", None, None, 7, "a test", "tests")

    async def listed() -> dict[str, object]:
        return (await client.get("/v1/models/gpt-image-1-mini")).json()["pricing"]

    async with asyncio.timeout(2):
        while (await listed())["version"] != price.version:
            await asyncio.sleep(0.05)
    response = await client.post(PATH, json=BODY | {"model": "gpt-image-1-mini", "size": "1024x1024"})

    assert response.json()["metadata"]["charged_tokens"] == 7
    assert response.json()["metadata"]["price_version"] == price.version


async def test_a_model_without_a_price_refuses(
    client: AsyncClient, account: Account, fake: FakeProvider
) -> None:
    response = await client.post(PATH, json=BODY | {"model": "recraftv4_1_flash"})

    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_not_priced")
    assert response.headers["x-should-retry"] == "false"
    assert (fake.requests, await account.balance()) == ([], (LIVE_TOKENS, 0))


async def test_a_model_nobody_configured_sells_says_which_key_is_missing(client: AsyncClient) -> None:
    response = await client.post(PATH, json=BODY | {"model": "flux-2-pro", "size": "1024x1024"})

    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_provider_configured")


async def test_a_prompt_on_the_blocklist_is_refused_before_the_hold(
    services: Services, account: Account, serve: Callable[[Services], Awaitable[str]]
) -> None:
    strict = replace(services, moderation=Panel(Blocklist(["forbidden fruit"])))

    async with AsyncClient(
        base_url=await serve(strict), headers={"api-key": account.key}, timeout=30
    ) as http:
        refused = await http.post(PATH, json=BODY | {"prompt": "a Forbidden   FRUIT bowl"})
        passed = await http.post(PATH, json=BODY | {"prompt": "a forbidden fruitcake"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "moderation_blocked")
    assert refused.json()["error"]["type"] == "image_generation_user_error"
    assert passed.status_code == 200


@pytest.mark.parametrize("statement", ["UPDATE transfers SET tokens = 1", "DELETE FROM transfers"])
async def test_the_gateway_s_own_role_cannot_change_a_transfer(services: Services, statement: str) -> None:
    with pytest.raises(Exception, match="permission denied"):
        async with services.engine.begin() as tx:
            await tx.execute(text(statement))


async def test_without_a_database_nothing_is_asked_upstream(
    services: Services, account: Account, fake: FakeProvider
) -> None:
    """A gateway of its own, on a PostgreSQL of its own that is stopped under it."""
    import asyncio

    with tempfile.TemporaryDirectory(prefix="ig", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder), lambda line: None)
        server.__enter__()
        try:
            await asyncio.to_thread(upgrade, server.owner_url, lambda line: None)
            changes = {
                "database_url": SecretStr(server.app_url),
                "data_dir": Path(folder) / "g",
                "database_timeout_s": 2,
            }
            own = services.settings.model_copy(update=changes)
            async with open_services(own) as opened, listening(opened) as url:
                customer = await open_account(opened, opened.engine)
                async with AsyncClient(base_url=url, headers={"api-key": customer.key}, timeout=60) as http:
                    before = await http.post(PATH, json=BODY | {"model": "gpt-image-2", "size": "1024x1024"})
                    server.__exit__(None, None, None)
                    after = await http.post(PATH, json=BODY | {"model": "gpt-image-2", "size": "1024x1024"})
                    ready = await http.get("/readyz")
                    alive = await http.get("/healthz")
        finally:
            server.__exit__(None, None, None)

    assert (before.status_code, after.status_code) == (200, 503)
    assert after.json()["error"]["code"] == "billing_unavailable"
    assert (ready.status_code, alive.status_code) == (503, 200)
    assert len(fake.requests) == 1


async def test_who_comes_alone_forgets_the_dead_but_not_a_process_that_came_after(services: Services) -> None:
    """Two processes start together: the first must not take the second's generations for a dead worker's."""
    came_at, lease_s = datetime(2020, 1, 1, tzinfo=UTC), 30.0
    dead, newcomer = new_id(), new_id()
    insert = text("INSERT INTO workers (id, lease_until) VALUES (:id, :until)")
    async with services.engine.begin() as tx:
        await tx.execute(insert, {"id": dead, "until": came_at + timedelta(seconds=lease_s - 1)})
        await tx.execute(insert, {"id": newcomer, "until": came_at + timedelta(seconds=lease_s + 1)})

    await forget_workers(services.engine, came_at, lease_s)

    async with services.engine.connect() as connection:
        left = set((await connection.execute(text("SELECT id FROM workers"))).scalars())
    assert (dead in left, newcomer in left) == (False, True)
