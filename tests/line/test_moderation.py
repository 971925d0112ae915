"""What is said is judged before anything is held: by a blocklist, an endpoint like OpenAI's, a webhook."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import (
    CloseAfterRequest,
    Drip,
    Hang,
    Raw,
    Status,
    Verb,
    Wait,
    garbage,
    picture,
)
from tests.line.moderated import BODY, PATH, Serve, moderated, row_of, rows_of
from tests.moderation.server import OPENAI, ModerationServer, says, scored

NOBODY = {"moderation_openai_url": "http://127.0.0.1:9/v1", "moderation_openai_key": "sk-x"}
"""The port `discard`, where nobody listens."""


@pytest.fixture
async def server() -> AsyncIterator[ModerationServer]:
    async with ModerationServer() as moderation:
        yield moderation
    assert moderation.violations == []


async def test_a_flagged_prompt_is_refused_before_anything_is_held_or_asked(
    services: Services,
    account: Account,
    serve: Serve,
    server: ModerationServer,
    fake: FakeProvider,
    engine: AsyncEngine,
) -> None:
    server.then(scored(True, violence=0.97))
    async with moderated(services, account, serve, **server.openai) as gateway:
        before = gateway.counted("input", "blocked")
        refused = await gateway.draw(prompt="a very bad fox")
        counted = gateway.counted("input", "blocked") - before
        metrics = (await gateway.http.get("/metrics")).text

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "moderation_blocked")
    assert error["type"] == "image_generation_user_error"
    assert "Nothing was held or charged" in error["message"]
    assert "violence" not in error["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert (fake.requests, await rows_of(engine, account)) == ([], [])
    assert await account.balance() == (LIVE_TOKENS, 0)
    assert counted == 1
    assert 'imagegate_moderation_total{stage="input",verdict="blocked"}' in metrics


async def test_a_clean_prompt_is_drawn_and_the_verdict_recorded(
    services: Services, account: Account, serve: Serve, server: ModerationServer, engine: AsyncEngine
) -> None:
    async with moderated(services, account, serve, **server.openai, **server.webhook) as gateway:
        drawn = await gateway.draw(negative_prompt="blur")
        version = gateway.services.moderation.version

    assert drawn.status_code == 200
    metadata = drawn.json()["metadata"]
    assert "moderation" not in metadata
    recorded = (await row_of(engine, metadata["id"])).moderation
    assert (recorded["policy"], recorded["version"]) == ("block", version)
    (verdict,) = recorded["verdicts"]
    assert (verdict["stage"], verdict["verdict"], verdict["flagged"]) == ("input", "passed", False)
    assert verdict["failed_open"] is False
    assert [m["name"] for m in verdict["moderators"]] == ["openai", "webhook"]
    assert all(isinstance(m["ms"], int) and not m["flagged"] for m in verdict["moderators"])
    asked = {request.path: request.body for request in server.requests}
    assert asked[OPENAI]["input"] == "a fox\n\nblur"
    assert asked["/judge"]["prompt"] == "a fox"
    assert (asked["/judge"]["stage"], asked["/judge"]["policy"]) == ("input", "block")
    assert asked["/judge"]["negative_prompt"] == "blur"
    assert asked["/judge"]["account"].startswith("acc_")


async def test_under_the_policy_flag_it_is_drawn_charged_recorded_and_told(
    services: Services, account: Account, serve: Serve, server: ModerationServer, engine: AsyncEngine
) -> None:
    server.then(says(True, "brand", reason="a trademark"))
    async with moderated(services, account, serve, **server.webhook, moderation_policy="flag") as gateway:
        drawn = await gateway.draw()
        generation = drawn.json()["metadata"]
        fetched = await gateway.http.get(f"{PATH}/{generation['id']}")

    assert drawn.status_code == 200
    told = generation["moderation"]
    assert (told["policy"], told["flagged"]) == ("flag", True)
    assert (told["stages"], told["categories"]) == (["input"], ["brand"])
    assert fetched.json()["metadata"]["moderation"] == told
    assert generation["charged_tokens"] > 0
    assert await account.balance() == (LIVE_TOKENS - generation["charged_tokens"], 0)
    (verdict,) = (await row_of(engine, generation["id"])).moderation["verdicts"]
    (moderator,) = verdict["moderators"]
    assert (moderator["categories"], moderator["reason"]) == (["brand"], "a trademark")


DOWN = {
    "slow": Hang(),
    "a slow drip": Drip(pieces=20, every_s=0.1),
    "broken": Status(500, {"error": "oops"}),
    "busy": Status(429, {"error": "later"}),
    "garbage": garbage(),
    "no verdict": Status(200, {"results": []}),
    "a verdict of another type": Status(200, {"results": [{"flagged": "no"}]}),
    "half an answer": Raw(b'HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{"results":'),
    "closed": CloseAfterRequest(),
    "a redirect": Status(302, {}, headers={"location": "http://127.0.0.1:9/"}),
}


@pytest.mark.parametrize("verb", DOWN.values(), ids=DOWN.keys())
async def test_a_moderator_that_gives_no_verdict_refuses_with_503_and_is_asked_once(
    services: Services,
    account: Account,
    serve: Serve,
    server: ModerationServer,
    fake: FakeProvider,
    engine: AsyncEngine,
    verb: Verb,
) -> None:
    server.then(verb)
    async with moderated(services, account, serve, **server.openai, moderation_budget_s=0.3) as gateway:
        refused = await gateway.draw()
        again = await gateway.draw()

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "moderation_unavailable")
    assert refused.headers["x-should-retry"] == "true"
    assert refused.headers["retry-after"]
    assert again.status_code == 200
    assert (len(server.requests), len(fake.requests)) == (2, 1)
    assert len(await rows_of(engine, account)) == 1


async def test_a_moderator_that_is_not_there_refuses_with_503(
    services: Services, account: Account, serve: Serve, fake: FakeProvider
) -> None:
    async with moderated(services, account, serve, **NOBODY) as gateway:
        refused = await gateway.draw()

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "moderation_unavailable")
    assert (fake.requests, await account.balance()) == ([], (LIVE_TOKENS, 0))


async def test_fail_open_is_a_choice_and_is_recorded(
    services: Services, account: Account, serve: Serve, engine: AsyncEngine
) -> None:
    async with moderated(services, account, serve, **NOBODY, moderation_fail_open=True) as gateway:
        before = gateway.counted("input", "failed_open")
        drawn = await gateway.draw()
        counted = gateway.counted("input", "failed_open") - before

    assert (drawn.status_code, counted) == (200, 1)
    (verdict,) = (await row_of(engine, drawn.json()["metadata"]["id"])).moderation["verdicts"]
    assert (verdict["failed_open"], verdict["verdict"]) == (True, "failed_open")
    assert "could not be reached" in verdict["moderators"][0]["failure"]


async def test_one_moderator_that_flags_outweighs_another_that_is_down(
    services: Services, account: Account, serve: Serve, server: ModerationServer
) -> None:
    server.then(says(True, "brand"))
    async with moderated(services, account, serve, **server.webhook, **NOBODY) as gateway:
        refused = await gateway.draw()

    assert refused.json()["error"]["code"] == "moderation_blocked"


async def test_moderators_are_asked_at_the_same_time(
    services: Services, account: Account, serve: Serve, server: ModerationServer
) -> None:
    """Neither is answered before both have been asked."""
    gate = asyncio.Event()
    server.then(Wait(gate, scored()), Wait(gate, scored()))
    settings = {**server.openai, **server.webhook, "moderation_webhook_url": f"{server.origin}/judge"}
    async with moderated(services, account, serve, **settings, moderation_fail_open=True) as gateway:
        drawing = asyncio.create_task(gateway.draw())
        await server.arrived(2)
        gate.set()
        drawn = await drawing

    assert drawn.status_code == 200


async def test_a_retry_of_a_blocked_request_under_its_key_is_judged_anew(
    services: Services, account: Account, serve: Serve, server: ModerationServer
) -> None:
    server.then(scored(True, violence=0.9))
    async with moderated(services, account, serve, **server.openai) as gateway:
        headers = {"idempotency-key": "once-more"}
        refused = await gateway.http.post(PATH, json=BODY, headers=headers)
        drawn = await gateway.http.post(PATH, json=BODY, headers=headers)
        told = await gateway.http.post(PATH, json=BODY, headers=headers)

    assert [r.status_code for r in (refused, drawn, told)] == [400, 200, 200]
    assert told.headers["idempotent-replayed"] == "true"
    assert len(server.requests) == 2


async def test_input_pictures_are_judged_one_a_request_and_a_flagged_one_blocks(
    services: Services, account: Account, serve: Serve, server: ModerationServer, fake: FakeProvider
) -> None:
    first, second = picture("512x512", "png"), picture("640x512", "jpeg")
    server.then(scored(), scored(True, sexual=0.9))
    urls = [
        "data:image/png;base64," + base64.b64encode(first).decode(),
        "data:image/jpeg;base64," + base64.b64encode(second).decode(),
    ]
    async with moderated(services, account, serve, **server.openai) as gateway:
        refused = await gateway.http.post("/v1/images/edits", json=BODY | {"image": urls})

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "moderation_blocked")
    assert fake.requests == []
    asked = [part for request in server.requests for part in request.body["input"]]
    assert sorted(part["image_url"]["url"] for part in asked if part["type"] == "image_url") == sorted(urls)
    assert [part["text"] for part in asked if part["type"] == "text"] == ["a fox"]


async def test_a_webhook_gets_the_pictures_themselves(
    services: Services, account: Account, serve: Serve, server: ModerationServer
) -> None:
    sent = picture("512x512", "png")
    server.then(says(True, "brand"))
    url = "data:image/png;base64," + base64.b64encode(sent).decode()
    async with moderated(services, account, serve, **server.webhook) as gateway:
        refused = await gateway.http.post("/v1/images/edits", json=BODY | {"image": [url]})

    assert refused.status_code == 400
    (image,) = server.requests[0].body["images"]
    assert (image["mime"], base64.b64decode(image["b64"])) == ("image/png", sent)


async def test_what_the_blocklist_refuses_is_shown_to_nobody(
    services: Services, account: Account, serve: Serve, server: ModerationServer, tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("# ours\nforbidden fruit\nre:bad(ger)?s?\\b\n", encoding="utf-8")
    settings = {**server.openai, "moderation_blocklist_file": words}
    async with moderated(services, account, serve, **settings) as gateway:
        with structlog.testing.capture_logs() as logs:
            refused = [
                await gateway.draw(prompt=prompt)
                for prompt in ("a FОRBIDDEN\u200b  fruit bowl", "two badgers", "a fine", "b\u0336ad ideas")
            ]

    assert [r.status_code for r in refused] == [400, 400, 200, 400]
    assert len(server.requests) == 1
    assert all("forbidden" not in r.text and "badger" not in r.text for r in refused)
    told: list[Any] = [entry for entry in logs if entry["event"] == "moderation"]
    assert [entry["verdict"] for entry in told] == ["blocked"] * 3
    assert "badger" not in json.dumps(told)


async def test_without_a_moderator_nobody_is_asked_and_nothing_recorded(
    client: AsyncClient, account: Account, engine: AsyncEngine
) -> None:
    drawn = await client.post(PATH, json=BODY)

    assert drawn.status_code == 200
    (row,) = await rows_of(engine, account)
    assert row.moderation is None


async def test_texts_in_fields_that_pass_through_are_judged_too(
    services: Services, account: Account, serve: Serve, tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("contraband\n")

    async with moderated(services, account, serve, moderation_blocklist_file=words) as gateway:
        refused = [
            await gateway.draw(search_prompt="a contraband box"),
            await gateway.draw(system_prompt={"parts": ["x", {"text": "Contraband"}]}),
            await gateway.draw(style="contraband"),
        ]
        drawn = await gateway.draw(search_prompt="a box")

    assert [answer.status_code for answer in refused] == [400, 400, 400]
    assert {answer.json()["error"]["code"] for answer in refused} == {"moderation_blocked"}
    assert drawn.status_code == 200
