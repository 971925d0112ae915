"""What was made is judged before it is given out: blocked images go into quarantine, uncharged."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import generations as admin_generations
from imagegate.generation.purge import remove_objects
from imagegate.identity.audit import Actor
from imagegate.media import links
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Hang, picture
from tests.line.moderated import BODY as ONE
from tests.line.moderated import PATH, Serve, moderated, row_of, rows_of
from tests.moderation.server import ModerationServer, says, scored

OUTPUT = {"moderation_output": True}


@pytest.fixture
async def server() -> AsyncIterator[ModerationServer]:
    async with ModerationServer() as moderation:
        yield moderation
    assert moderation.violations == []


async def attempts_of(engine: AsyncEngine, account: Account) -> list[Any]:
    async with engine.connect() as connection:
        query = text("SELECT * FROM attempts WHERE account_id = :id ORDER BY epoch, seq")
        return list((await connection.execute(query, {"id": account.id})).all())


def quarantine(row: Any) -> str:
    return f"quarantine/{row.account_id.hex}/{row.env}/{row.id.hex}/"


async def test_a_blocked_image_is_kept_where_no_link_leads_and_costs_only_us(
    services: Services,
    account: Account,
    serve: Serve,
    server: ModerationServer,
    engine: AsyncEngine,
) -> None:
    server.then(scored(), scored(True, sexual=0.99))
    async with moderated(services, account, serve, **server.openai, **OUTPUT) as gateway:
        refused = await gateway.draw()
        (row,) = await rows_of(engine, account)
        listed = await gateway.http.get(f"{PATH}/gen_{row.id.hex}")

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "moderation_blocked")
    assert error["type"] == "image_generation_user_error"
    assert "Nothing was charged" in error["message"]
    assert await account.balance() == (LIVE_TOKENS, 0)
    assert (row.state, row.charged_tokens, listed.json().get("data")) == ("voided", 0, None)
    (attempt,) = await attempts_of(engine, account)
    assert (getattr(attempt, "class"), attempt.images, attempt.at_risk_usd) == ("BILLED_INVALID", 0, None)
    assert attempt.cost_usd > Decimal(0)

    (held,) = await services.store.list(quarantine(row))
    assert await services.store.get(held) == picture("1024x1024", "png")
    assert await services.store.list(quarantine(row).removeprefix("quarantine/")) == []
    with pytest.raises(ValueError, match="object name"):
        links.mint([services.keyring.links], held, 2**31, "http://here")
    said, made = row.moderation["verdicts"]
    assert (said["stage"], said["verdict"]) == ("input", "passed")
    assert (made["stage"], made["verdict"], made["object"]) == ("output", "blocked", held)
    assert made["moderators"][0]["categories"] == ["sexual"]


async def test_a_link_that_is_forged_with_our_own_key_does_not_open_the_quarantine(
    services: Services, account: Account, serve: Serve, server: ModerationServer, engine: AsyncEngine
) -> None:
    server.then(scored(), scored(True, sexual=0.99))
    async with moderated(services, account, serve, **server.openai, **OUTPUT) as gateway:
        await gateway.draw()
        (row,) = await rows_of(engine, account)
        (held,) = await services.store.list(quarantine(row))
        signature = links._sign(services.keyring.links, str(2**31), held)
        opened = await gateway.http.get(f"/media/{2**31}/{signature}/{held}")

    assert (opened.status_code, opened.json()["error"]["code"]) == (403, "invalid_signature")


async def test_the_images_that_pass_are_delivered_and_charged_and_nobody_else_is_asked(
    services: Services,
    account: Account,
    serve: Serve,
    server: ModerationServer,
    fake: FakeProvider,
    engine: AsyncEngine,
) -> None:
    server.then(scored(), scored(), scored(), scored(True, sexual=0.99), scored())
    async with moderated(services, account, serve, **server.openai, **OUTPUT) as gateway:
        one = await gateway.http.post(PATH, json=ONE)
        drawn = await gateway.http.post(PATH, json=ONE | {"n": 2})

    assert (one.status_code, drawn.status_code, len(drawn.json()["data"])) == (200, 200, 1)
    assert drawn.headers["x-images-requested"] == "2"
    metadata, price = drawn.json()["metadata"], one.json()["metadata"]["charged_tokens"]
    assert metadata["charged_tokens"] == price > 0
    assert await account.balance() == (LIVE_TOKENS - 2 * price, 0)
    assert len(fake.requests) == 2
    row = await row_of(engine, metadata["id"])
    assert (row.state, row.billed["count"]) == ("captured", 1)
    assert len(await services.store.list(quarantine(row))) == 1
    assert metadata["moderation"]["stages"] == ["output"]
    one_call, both = await attempts_of(engine, account)
    assert (getattr(both, "class"), both.images) == ("DELIVERED", 1)
    assert both.cost_usd > Decimal("1.9") * one_call.cost_usd  # the text of the prompt is read once


async def test_under_the_policy_flag_a_flagged_image_is_delivered_and_told(
    services: Services, account: Account, serve: Serve, server: ModerationServer, engine: AsyncEngine
) -> None:
    server.then(says(False), says(True, "brand"))
    settings = {**server.webhook, **OUTPUT, "moderation_policy": "flag"}
    async with moderated(services, account, serve, **settings) as gateway:
        drawn = await gateway.draw()
        fetched = await gateway.http.get(f"{PATH}/{drawn.json()['metadata']['id']}")

    metadata = drawn.json()["metadata"]
    assert (drawn.status_code, metadata["moderation"]["stages"]) == (200, ["output"])
    assert fetched.json()["metadata"]["moderation"] == metadata["moderation"]
    row = await row_of(engine, metadata["id"])
    assert await services.store.list(quarantine(row)) == []
    asked = [request.body for request in server.requests]
    assert [(body["stage"], len(body["images"])) for body in asked] == [("input", 0), ("output", 1)]
    assert len(asked[1]["id"]) > 10
    assert asked[1]["id"] != asked[0]["id"]


async def test_an_image_that_nobody_looked_at_is_not_given_out_and_the_key_may_be_used_again(
    services: Services,
    account: Account,
    serve: Serve,
    server: ModerationServer,
    engine: AsyncEngine,
) -> None:
    server.then(scored(), Hang())
    settings = {**server.openai, **OUTPUT, "moderation_budget_s": 0.3}
    async with moderated(services, account, serve, **settings) as gateway:
        headers = {"idempotency-key": "look-again"}
        refused = await gateway.http.post(PATH, json=ONE, headers=headers)
        balance = await account.balance()
        drawn = await gateway.http.post(PATH, json=ONE, headers=headers)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "moderation_unavailable")
    assert refused.headers["x-should-retry"] == "true"
    assert balance == (LIVE_TOKENS, 0)
    first, second = await attempts_of(engine, account)
    assert getattr(first, "class") == "BILLED_INVALID"
    assert first.cost_usd == second.cost_usd > 0
    assert drawn.status_code == 200
    row = await row_of(engine, drawn.json()["metadata"]["id"])
    words = [(verdict["stage"], verdict["verdict"]) for verdict in row.moderation["verdicts"]]
    assert words == [
        ("input", "passed"),
        ("output", "unavailable"),
        ("input", "passed"),
        ("output", "passed"),
    ]


async def test_an_operator_sees_the_verdicts_and_a_purge_takes_the_quarantine_along(
    services: Services, account: Account, serve: Serve, server: ModerationServer, engine: AsyncEngine
) -> None:
    server.then(scored(), scored(True, sexual=0.99))
    async with moderated(services, account, serve, **server.openai, **OUTPUT) as gateway:
        await gateway.draw()
    (row,) = await rows_of(engine, account)
    named = f"gen_{row.id.hex}"

    async with services.engine.begin() as tx:
        shown = await admin_generations.show(tx, services.catalogue, named)
        purged = await admin_generations.mark_purged(tx, named, Actor("tests", "a test"))
    removed = await remove_objects(services.store, purged)

    assert shown["moderation"]["verdicts"][1]["verdict"] == "blocked"
    assert (removed, await services.store.list(quarantine(row))) == (1, [])
    after = (await row_of(engine, named)).moderation
    assert after == {"policy": "block", "version": shown["moderation"]["version"]}


async def test_output_moderation_is_off_unless_it_is_wanted(
    services: Services, account: Account, serve: Serve, server: ModerationServer
) -> None:
    async with moderated(services, account, serve, **server.openai) as gateway:
        drawn = await gateway.draw()

    assert (drawn.status_code, len(server.requests)) == (200, 1)
