"""Every provider in providers.yaml over real sockets and the production transport, in every trouble a network has."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import pytest

from imagegate.errors import AttemptFailed
from imagegate.outbound import Outbound, open_outbound
from imagegate.pool import WorkPool
from tests.fake_verbs import (
    CloseAfterRequest,
    CloseOnAccept,
    Exchange,
    HalfClose,
    Hang,
    Raw,
    Reset,
    head,
)
from tests.post_cases import closed_port
from tests.providers.wire_cases import told
from tests.providers.wire_play import (
    Case,
    Reply,
    Stage,
    assert_secrets_are_kept,
    at,
    content_of,
    headers_of,
    outcome,
    read_case,
)
from tests.providers.wire_specs import adapter_class, adapters, case_file, polled_providers

PROVIDERS = list(adapters())


@pytest.fixture(scope="module")
async def outbound() -> AsyncIterator[Outbound]:
    async with open_outbound() as outbound:
        yield outbound


@dataclass(frozen=True)
class Slowly:
    """The right answer, a few bytes at a time."""

    answer: dict[str, Any]
    every_s: float
    pieces: int = 10

    async def play(self, exchange: Exchange) -> None:
        content = content_of(self.answer, exchange.origin)
        await exchange.write(head(self.answer["status"], len(content), headers_of(self.answer)))
        step = -(-len(content) // self.pieces)
        for start in range(0, len(content), step):
            await asyncio.sleep(self.every_s)
            await exchange.write(content[start : start + step])


def delivered(provider: str) -> Case:
    return read_case(provider, case_file(provider, "delivered"))


TROUBLE: dict[str, Any] = {
    "slow drip": lambda answer: Slowly(answer, every_s=0.1),
    "hang": lambda _: Hang(),
    "reset after send": lambda _: Reset(),
    "closed after send": lambda _: CloseAfterRequest(),
    "half-close": lambda _: HalfClose(),
    "close on accept": lambda _: CloseOnAccept(),
    "truncated body": lambda answer: Reply(answer, cut=True),
    "no HTTP": lambda _: Raw(b"220 mail.test ESMTP\r\n"),
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("trouble", TROUBLE)
async def test_trouble_after_sending_is_ambiguous_and_nothing_is_sent_again(
    provider: str, trouble: str, outbound: Outbound, pool: WorkPool
) -> None:
    case = delivered(provider)
    async with Stage() as stage:
        stage.then(TROUBLE[trouble](case.answers[0]))
        stage.default = Reply(case.answers[-1])
        since = monotonic()

        result = await outcome(adapter_class(provider)(outbound, pool), at(stage, case, deadline_s=0.3))

        assert told(result, "outcome") == "AMBIGUOUS", result
        assert monotonic() - since < 3
        assert len(stage.requests) == (0 if trouble == "close on accept" else 1)
    assert case.accepted == []
    assert_secrets_are_kept(result, case)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_where_nobody_listens_nothing_was_sent(
    provider: str, outbound: Outbound, pool: WorkPool
) -> None:
    case = delivered(provider)
    nowhere = replace(case.call, base_url=f"http://127.0.0.1:{closed_port()}/v1")

    result = await outcome(adapter_class(provider)(outbound, pool), nowhere)

    assert isinstance(result, AttemptFailed)
    assert result.outcome == "NOT_SENT"
    assert result.provider == provider


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_that_comes_slowly_but_in_time_is_read(
    provider: str, outbound: Outbound, pool: WorkPool
) -> None:
    case = delivered(provider)
    async with Stage() as stage:
        stage.then(*(Slowly(answer, every_s=0.002) for answer in case.answers))

        result = await outcome(adapter_class(provider)(outbound, pool), at(stage, case))

        assert told(result, "outcome") == "DELIVERED", result
        assert len(stage.requests) == len(case.answers)


@pytest.mark.parametrize("provider", polled_providers())
async def test_trouble_with_a_poll_is_asked_again_and_never_submitted_again(
    provider: str, outbound: Outbound, pool: WorkPool
) -> None:
    async def survive(trouble: str) -> None:
        case = read_case(provider, case_file(provider, "poll_pending_then_delivered"))
        submit, *_, last = case.answers
        async with Stage() as stage:
            stage.then(Reply(submit), TROUBLE[trouble](last), *(Reply(answer) for answer in case.answers[1:]))

            result = await outcome(adapter_class(provider)(outbound, pool), at(stage, case))

            assert told(result, "outcome") == "DELIVERED", (trouble, result)
            assert [request.method for request in stage.requests].count("POST") == 1
        assert len(case.accepted) == 1

    await asyncio.gather(*(survive(trouble) for trouble in ("reset after send", "truncated body")))
