"""Moderators together: what opens them, how long they may take, and when one is asked again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from pydantic import SecretStr

from imagegate.errors import OperatorError
from imagegate.moderation.blocklist import Blocklist
from imagegate.moderation.panel import Panel, open_panel
from imagegate.moderation.verdicts import Picture, Subject
from imagegate.outbound import Outbound, open_outbound
from imagegate.pool import WorkPool
from imagegate.settings import Settings
from tests.fake_verbs import Hang, Status
from tests.moderation.server import KEY, SECRET, ModerationServer, says, scored

Opener = Callable[..., Panel]


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with open_outbound() as outbound:
        yield outbound


@pytest.fixture
async def server() -> AsyncIterator[ModerationServer]:
    async with ModerationServer() as server:
        yield server
    assert server.violations == []


@pytest.fixture
async def opener(outbound: Outbound, tmp_path: Path) -> AsyncIterator[Opener]:
    pool = WorkPool(threads=1)

    def make(**settings: Any) -> Panel:
        return open_panel(Settings(data_dir=tmp_path, **settings), outbound, pool)

    yield make
    pool.close()


def subject(policy: Any = "block", *pictures: Picture) -> Subject:
    return Subject("mod_1", "input", policy, "acc_1", "a fox", None, pictures)


def test_a_blocklist_alone_answers_without_giving_up_its_turn() -> None:
    """A coroutine that never waits ends at its first step: no task, no turn of the loop."""
    judging = Panel(Blocklist(["fox"])).judge(subject())

    with pytest.raises(StopIteration) as ended:
        judging.send(None)

    assert ended.value.value.word == "blocked"


def test_nobody_to_ask_is_false(opener: Opener) -> None:
    assert not opener()
    assert not Panel()
    assert Panel(Blocklist(["a"]))


async def test_what_certainly_was_not_sent_is_tried_once_more_and_not_twice(opener: Opener) -> None:
    """Nothing can be sent where no TLS handshake succeeds."""
    seen = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        verdict = await opener(moderation_openai_url=f"https://127.0.0.1:{port}/v1").judge(subject())

    assert (verdict.word, seen) == ("unavailable", 2)


async def test_all_of_them_share_one_budget(opener: Opener, server: ModerationServer) -> None:
    server.then(Hang(), Hang())
    panel = opener(**server.openai, **server.webhook, moderation_budget_s=0.2)
    since = monotonic()

    verdict = await panel.judge(subject())

    assert verdict.word == "unavailable"
    assert all("within" in (finding.failure or "") for finding in verdict.findings)
    assert monotonic() - since < 1.5


async def test_two_verdicts_are_one(opener: Opener) -> None:
    async with ModerationServer() as one, ModerationServer() as other:
        one.then(scored(True, violence=0.9))
        other.then(says(True, "brand"))
        verdict = await opener(**one.openai, **other.webhook).judge(subject("flag"))

    assert (verdict.word, verdict.categories) == ("flagged", ["brand", "violence"])
    assert [finding.moderator for finding in verdict.findings] == ["openai", "webhook"]


async def test_a_flagged_picture_outweighs_one_whose_question_failed(
    opener: Opener, server: ModerationServer
) -> None:
    pictures = [Picture(bytes([n]) * 9, "image/png") for n in range(3)]
    server.then(Status(500, {}), scored(True, sexual=0.9))

    flagged = await opener(**server.openai).judge(subject("block", *pictures))
    server.then(Status(500, {}))
    failed = await opener(**server.openai).judge(subject("block", *pictures))

    assert (flagged.word, flagged.categories, failed.word) == ("blocked", ["sexual"], "unavailable")
    assert len(server.requests) == 6


async def test_a_large_picture_arrives_whole(opener: Opener, server: ModerationServer) -> None:
    data = bytes(range(256)) * 8192

    verdict = await opener(**server.webhook).judge(subject("block", Picture(data, "image/png")))

    assert verdict.word == "passed"
    assert len(server.requests[0].raw) > len(data)


async def test_an_answer_without_an_end_is_a_failure(opener: Opener, server: ModerationServer) -> None:
    server.then(Status(200, b" " * (2 * 1024 * 1024)))

    verdict = await opener(**server.webhook).judge(subject())

    assert verdict.word == "unavailable"
    assert "more than" in (verdict.findings[0].failure or "")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"moderation_webhook_url": "http://10.0.0.1/judge"}, "MODERATION_WEBHOOK_SECRET"),
        (
            {"moderation_webhook_url": "10.0.0.1", "moderation_webhook_secret": SECRET},
            "MODERATION_WEBHOOK_URL",
        ),
        ({"moderation_openai_url": "ftp://here"}, "MODERATION_OPENAI_URL"),
        ({"moderation_openai_key": KEY, "moderation_openai_thresholds": "x"}, "MODERATION_OPENAI_THRESHOLDS"),
        ({"moderation_output": True}, "MODERATION_OUTPUT"),
    ],
)
def test_settings_that_cannot_work_refuse_the_start(
    opener: Opener, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(OperatorError, match=f"IMAGEGATE_{named}"):
        opener(**settings)


def test_the_version_follows_the_configuration_and_holds_no_secret(opener: Opener) -> None:
    openai = {"moderation_openai_key": SecretStr(KEY)}
    panels = [
        opener(**openai),
        opener(**openai, moderation_openai_thresholds="violence=0.5"),
        opener(**openai, moderation_openai_model="other"),
        opener(**openai, moderation_fail_open=True),
        opener(moderation_openai_url="http://127.0.0.1:1"),
    ]

    assert len({panel.version for panel in panels}) == 5
    other_key = opener(moderation_openai_key=SecretStr("sk-other"))
    assert other_key.version == panels[0].version == opener(**openai).version
