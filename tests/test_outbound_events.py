"""Answers as events: the reader of the format, and what is certain after each way such a call can break."""

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter

import httpx
import pytest

from imagegate.errors import Ambiguous, AttemptFailed, NotSent, RefusedUnbilled
from imagegate.outbound import Answer, Event, Outbound, open_outbound
from imagegate.outbound.events import EventReader, TooLong
from tests.fake_events import HEAD, Events, event_bytes
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import CloseAfterRequest, CloseOnAccept, Hang, Raw, Reset, Status, Truncated, Verb
from tests.post_cases import closed_port

BODY = b'{"model":"m","prompt":"a secret fox","stream":true,"partial_images":2}'
STREAM = (
    b"\xef\xbb\xbf: hello\nevent: one\ndata: 1\n\ndata: a\r\ndata:b\r\n\r\nid: 7\rdata\rdata:  c\r\r"
    b"event: nothing\n\nevent: two\nretry: 5\nunknown: x\ndata: {}\n\ndata: never ended\n"
)
WHOLE = [Event("one", b"1"), Event("", b"a\nb"), Event("", b"\n c"), Event("two", b"{}")]


def read(*chunks: bytes, max_bytes: int = 1_000_000) -> list[Event]:
    reader = EventReader(max_bytes)
    return [event for chunk in chunks for event in reader.feed(chunk)]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_events_are_the_same_in_pieces_of_any_length(step: int) -> None:
    assert read(*(STREAM[at : at + step] for at in range(0, len(STREAM), step))) == WHOLE


def test_events_are_the_same_cut_in_two_at_every_byte() -> None:
    for at in range(len(STREAM) + 1):
        assert read(STREAM[:at], STREAM[at:]) == WHOLE, at


def test_an_event_of_megabytes_in_small_pieces_takes_time_by_its_length() -> None:
    def seconds(megabytes: int) -> float:
        content = event_bytes("A" * (megabytes * 2**20), "one")
        pieces = [content[at : at + 4096] for at in range(0, len(content), 4096)]
        began = perf_counter()
        (event,) = read(*pieces, max_bytes=2**26)
        assert len(event.data) == megabytes * 2**20
        return perf_counter() - began

    assert seconds(16) < 2.0 + 40 * seconds(1)


def test_an_event_longer_than_allowed_is_not_collected() -> None:
    with pytest.raises(TooLong):
        read(b"data: " + b"a" * 60, b"b" * 60, max_bytes=100)
    with pytest.raises(TooLong):
        read(b"data: a\n" * 20, max_bytes=100)
    assert len(read(b"data: a\n\n" * 100, max_bytes=100)) == 100


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with open_outbound() as outbound:
        yield outbound


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


async def post(
    outbound: Outbound,
    base_url: str,
    *,
    last: str | None = "image_generation.completed",
    timeout_s: float = 5.0,
    max_bytes: int = 10_000_000,
    body: bytes = BODY,
) -> tuple[Answer, list[Event]]:
    """The answer, and the events up to the one of that name."""
    came: list[Event] = []

    async def take(event: Event) -> bool:
        came.append(event)
        return event.name == last

    answer = await outbound.post_events(
        f"{base_url}/images/generations",
        body=body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {KEY}"},
        provider="fake",
        timeout_s=timeout_s,
        max_bytes=max_bytes,
        take=take,
    )
    return answer, came


@pytest.mark.parametrize("step", [0, 1_000])
async def test_events_come_as_they_are_sent(outbound: Outbound, fake: FakeProvider, step: int) -> None:
    fake.then(Events(step=step, end="\r\n"))

    answer, came = await post(outbound, fake.base_url)

    assert (answer.status, answer.body, answer.headers["x-request-id"]) == (200, b"", "req_fake")
    assert [event.name.partition(".")[2] for event in came] == ["partial_image", "partial_image", "completed"]
    assert fake.violations == []


async def test_an_event_is_there_before_the_next_one_is_made(outbound: Outbound, fake: FakeProvider) -> None:
    gate = asyncio.Event()
    fake.then(Events(gate=gate))

    async def take(event: Event) -> bool:
        gate.set()
        return False

    await outbound.post_events(
        f"{fake.base_url}/images/generations",
        body=BODY,
        content_type="application/json",
        headers={"Authorization": f"Bearer {KEY}"},
        provider="fake",
        timeout_s=5.0,
        max_bytes=10_000_000,
        take=take,
    )

    assert gate.is_set()


async def test_megabytes_are_sent_and_the_answer_is_none_of_events(
    outbound: Outbound, fake: FakeProvider
) -> None:
    body = b'{"model":"m","prompt":"' + b"x" * 3_000_000 + b'"}'

    answer, came = await post(outbound, fake.base_url, body=body)

    assert fake.requests[0].raw == body
    assert (answer.status, came) == (400, [])
    assert answer.json()["error"]["code"] == "invalid_value"


async def test_a_connection_that_is_never_made_has_sent_nothing(outbound: Outbound) -> None:
    with pytest.raises(NotSent, match="no connection"):
        await post(outbound, f"http://127.0.0.1:{closed_port()}/v1")
    with pytest.raises(NotSent, match="does not resolve"):
        await post(outbound, "http://nowhere.invalid/v1")


CUT = HEAD + b"1a\r\nevent: one\ndata: 1\n\nevent\r\n"


@pytest.mark.parametrize(
    "verb",
    [
        CloseOnAccept(),
        CloseAfterRequest(),
        Reset(),
        Truncated(),
        Raw(CUT),
        Raw(b"220 mail.test ESMTP\r\n"),
        Hang(),
        Events(step=100, every_s=0.02),
        Events(last=event_bytes({"type": "endless"}), gate=asyncio.Event()),
    ],
    ids=lambda verb: type(verb).__name__,
)
async def test_every_end_without_the_whole_is_ambiguous(
    outbound: Outbound, fake: FakeProvider, verb: Verb
) -> None:
    fake.then(verb)

    with pytest.raises(Ambiguous):
        await post(outbound, fake.base_url, timeout_s=0.4)


async def test_too_many_bytes_end_the_call(outbound: Outbound, fake: FakeProvider) -> None:
    fake.then(Events(previews=3), Status(200, b"x" * 5_000))

    with pytest.raises(Ambiguous, match="more than 600 bytes"):
        await post(outbound, fake.base_url, max_bytes=600)
    with pytest.raises(Ambiguous, match="more than 600 bytes"):
        await post(outbound, fake.base_url, max_bytes=600)


async def test_a_redirect_is_not_followed(outbound: Outbound, fake: FakeProvider) -> None:
    fake.then(Status(307, b"", headers={"location": "http://stranger.test/"}))

    with pytest.raises(RefusedUnbilled, match="redirect 307"):
        await post(outbound, fake.base_url)


async def test_what_take_raises_ends_the_call_and_gives_the_connection_back(
    outbound: Outbound, fake: FakeProvider
) -> None:
    async def refuse(event: Event) -> bool:
        raise RefusedUnbilled("fake", "said so")

    for _ in range(3):
        with pytest.raises(AttemptFailed, match="said so"):
            await outbound.post_events(
                f"{fake.base_url}/images/generations",
                body=BODY,
                content_type="application/json",
                headers={"Authorization": f"Bearer {KEY}"},
                provider="fake",
                timeout_s=5.0,
                max_bytes=10_000_000,
                take=refuse,
            )

    assert fake.connections == 3


async def test_a_stand_in_streams_as_well() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.content == BODY
        return httpx.Response(200, headers={"content-type": "Text/Event-Stream"}, content=STREAM)

    async with open_outbound(api=httpx.MockTransport(answer)) as outbound:
        _, came = await post(outbound, "http://fake.test/v1", last=None)

    assert came == WHOLE
