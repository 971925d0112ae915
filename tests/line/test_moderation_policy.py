"""Whose policy holds: the key's, else its account's, else the gateway's; and from when on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from imagegate.admin import accounts as admin_accounts
from imagegate.admin import keys as admin_keys
from imagegate.identity import keys
from imagegate.identity.audit import Actor
from imagegate.identity.keys import KeyCache
from imagegate.moderation.verdicts import Policy
from imagegate.services import Services
from tests.conftest import Account
from tests.fake_verbs import Status
from tests.line.moderated import Serve, moderated
from tests.moderation.server import ModerationServer, says

US = Actor("cli:tests", "a test")


@pytest.fixture
async def server() -> AsyncIterator[ModerationServer]:
    async with ModerationServer() as moderation:
        yield moderation


@dataclass(frozen=True)
class Policies:
    """Sets policies of the account and of its live key."""

    services: Services
    account: Account

    async def set(self, of_account: Policy | None, of_key: Policy | None) -> None:
        async with self.services.engine.begin() as tx:
            await admin_accounts.set_moderation(tx, self.account.name, of_account, US)
            await admin_keys.set_policy(tx, str(await self.key_id()), "moderation", of_key, US)

    async def key_id(self) -> UUID:
        cache = KeyCache(self.services.engine, self.services.keyring)
        return (await cache.find(self.account.key)).key_id


@pytest.fixture
def policies(services: Services, account: Account) -> Policies:
    return Policies(services, account)


@pytest.mark.parametrize(
    ("of_gateway", "of_account", "of_key", "status", "asked"),
    [
        ("block", None, None, 400, 1),
        ("flag", None, None, 200, 1),
        ("off", None, None, 200, 0),
        ("off", "block", None, 400, 1),
        ("block", "off", None, 200, 0),
        ("block", "flag", None, 200, 1),
        ("block", "off", "block", 400, 1),
        ("off", "block", "off", 200, 0),
        ("off", "off", "flag", 200, 1),
    ],
)
async def test_the_nearest_policy_holds(
    services: Services,
    account: Account,
    serve: Serve,
    server: ModerationServer,
    policies: Policies,
    of_gateway: Policy,
    of_account: Policy | None,
    of_key: Policy | None,
    status: int,
    asked: int,
) -> None:
    await policies.set(of_account, of_key)
    server.then(says(True, "brand"))

    async with moderated(services, account, serve, **server.webhook, moderation_policy=of_gateway) as gateway:
        drawn = await gateway.draw(model="sandbox", size="256x256")

    assert (drawn.status_code, len(server.requests)) == (status, asked)


async def test_a_change_is_in_force_within_two_seconds_and_in_the_audit_log(
    services: Services, account: Account, serve: Serve, server: ModerationServer, policies: Policies
) -> None:
    server.then(*[says(True, "brand")] * 200)
    async with moderated(services, account, serve, **server.webhook) as gateway:
        picture = {"model": "sandbox", "size": "256x256", "response_format": "url"}
        refused = await gateway.draw(**picture)
        await policies.set("off", None)
        began = monotonic()
        while (await gateway.draw(**picture)).status_code != 200:
            await asyncio.sleep(0.05)
        took_s = monotonic() - began

    assert (refused.status_code, took_s < 2) == (400, True)
    async with services.engine.connect() as connection:
        query = text("SELECT action, detail FROM audit_log WHERE account_id = :id ORDER BY id")
        rows: list[Any] = list((await connection.execute(query, {"id": account.id})).all())
    (of_account, of_key) = (row for row in rows if row.action.endswith("set_moderation"))
    assert (of_account.action, of_account.detail["moderation"], of_account.detail["before"]) == (
        "accounts.set_moderation",
        "off",
        None,
    )
    assert of_key.action == "keys.set_moderation"


async def test_off_means_that_a_moderator_that_is_down_stops_nobody(
    services: Services, account: Account, serve: Serve, server: ModerationServer, policies: Policies
) -> None:
    await policies.set(None, "off")
    server.then(Status(500, {}))

    async with moderated(services, account, serve, **server.webhook, moderation_output=True) as gateway:
        drawn = await gateway.draw(model="sandbox", size="256x256")

    assert (drawn.status_code, server.requests) == (200, [])


async def test_a_key_that_takes_another_s_place_keeps_its_policy(
    services: Services, policies: Policies
) -> None:
    await policies.set("off", "block")
    old = str(await policies.key_id())

    async with services.engine.begin() as tx:
        new, _ = await admin_keys.rotate_key(tx, services.keyring.key_pepper, old, 0, None, US)
    async with services.engine.connect() as connection:
        (kept,) = [row for row in await keys.list_keys(connection, None) if row.id == new.id]

    assert (new.moderation, kept.moderation, new.to_json()["moderation"]) == ("block", "block", "block")
