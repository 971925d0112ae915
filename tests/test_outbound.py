"""The production transport on real sockets: what is certain after each way a call can break."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from imagegate.errors import Ambiguous, AttemptFailed, NotSent, RefusedUnbilled
from imagegate.outbound import Outbound, open_outbound
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import (
    CloseAfterRequest,
    CloseOnAccept,
    Drip,
    HalfClose,
    Hang,
    Images,
    Promise,
    Raw,
    Reset,
    Status,
    Truncated,
    Verb,
)
from tests.post_cases import closed_port, post

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1000\r\n%b\r\n" % (b"a" * 4096) * 4


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with open_outbound() as outbound:
        yield outbound


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@asynccontextmanager
async def server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A bare TCP server; its port."""
    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()


async def test_a_refused_connection_is_not_sent(outbound: Outbound) -> None:
    with pytest.raises(NotSent, match="could not be reached: no connection"):
        await post(outbound, f"http://127.0.0.1:{closed_port()}/v1")


async def test_a_name_that_does_not_resolve_is_not_sent(outbound: Outbound) -> None:
    with pytest.raises(NotSent, match="its name does not resolve"):
        await post(outbound, "http://nowhere.invalid/v1")


async def test_a_failed_tls_handshake_is_not_sent(outbound: Outbound) -> None:
    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with server(speak_plainly) as port:
        with pytest.raises(NotSent, match="TLS failed"):
            await post(outbound, f"https://127.0.0.1:{port}/v1")


async def test_a_tls_handshake_that_hangs_is_not_sent() -> None:
    over = asyncio.Event()

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with server(stay_silent) as port, open_outbound(connect_s=0.2) as outbound:
        with pytest.raises(NotSent, match="no connection in time"):
            await post(outbound, f"https://127.0.0.1:{port}/v1")
        over.set()


async def test_a_call_that_waits_in_vain_for_a_free_connection_is_not_sent(fake: FakeProvider) -> None:
    fake.then(Hang())
    async with open_outbound(connections=1, connect_s=0.2) as outbound:
        first = asyncio.create_task(post(outbound, fake.base_url))
        await fake.arrived(1)

        with pytest.raises(NotSent):
            await post(outbound, fake.base_url)

        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "verb",
    [
        CloseOnAccept(),
        CloseAfterRequest(),
        HalfClose(),
        Reset(),
        Truncated(),
        Raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\ncontent-length: none\r\n\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n"),
        Raw(CHUNKED),
    ],
    ids=lambda verb: type(verb).__name__,
)
async def test_a_connection_that_breaks_once_it_stood_is_ambiguous(
    outbound: Outbound, fake: FakeProvider, verb: Verb
) -> None:
    fake.then(verb)

    with pytest.raises(Ambiguous, match="fake broke the connection off"):
        await post(outbound, fake.base_url)

    assert len(fake.requests) <= 1


@pytest.mark.parametrize("verb", [Hang(), Drip(pieces=50, every_s=0.05)], ids=["hang", "drip"])
async def test_an_answer_that_takes_too_long_is_ambiguous(
    outbound: Outbound, fake: FakeProvider, verb: Verb
) -> None:
    fake.then(verb)

    with pytest.raises(Ambiguous, match=r"gave no whole answer within 0\.3 s"):
        await post(outbound, fake.base_url, timeout_s=0.3)


@pytest.mark.parametrize(
    "verb", [Promise(10**9), Images(), Raw(CHUNKED)], ids=["promised", "sent", "chunked"]
)
async def test_an_answer_that_is_too_large_is_ambiguous(
    outbound: Outbound, fake: FakeProvider, verb: Verb
) -> None:
    fake.then(verb)

    with pytest.raises(Ambiguous, match="more than 2000 bytes"):
        await post(outbound, fake.base_url, max_bytes=2000)


@pytest.mark.parametrize("verb", [CloseAfterRequest(), Reset()], ids=["close", "reset"])
async def test_a_kept_connection_that_breaks_under_a_request_is_ambiguous_and_never_sent_twice(
    outbound: Outbound, fake: FakeProvider, verb: Verb
) -> None:
    fake.then(Images(), verb)
    await post(outbound, fake.base_url)

    with pytest.raises(Ambiguous):
        await post(outbound, fake.base_url)

    assert (fake.connections, len(fake.requests)) == (1, 2)


async def test_a_kept_connection_that_the_server_closed_is_replaced(
    outbound: Outbound, fake: FakeProvider
) -> None:
    await post(outbound, fake.base_url)
    await fake.drop_connections()

    answer = await post(outbound, fake.base_url)

    assert answer.status == 200
    assert fake.connections == 2


async def test_a_call_after_another_starts_with_nothing_sent(outbound: Outbound, fake: FakeProvider) -> None:
    await post(outbound, fake.base_url)

    with pytest.raises(NotSent):
        await post(outbound, f"http://127.0.0.1:{closed_port()}/v1")


async def test_calls_at_the_same_time_do_not_share_their_flag(outbound: Outbound, fake: FakeProvider) -> None:
    fake.then(*[Hang()] * 20)
    nobody = f"http://127.0.0.1:{closed_port()}/v1"
    calls = [post(outbound, url, timeout_s=3.0) for _ in range(20) for url in (fake.base_url, nobody)]

    errors = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(error) for error in errors] == [Ambiguous, NotSent] * 20


async def test_a_cancelled_call_stays_cancelled_and_lets_go_of_its_connection(
    outbound: Outbound, fake: FakeProvider
) -> None:
    fake.then(Hang())
    call = asyncio.create_task(post(outbound, fake.base_url))
    await fake.arrived(1)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await post(outbound, fake.base_url)).status == 200
    assert fake.connections == 2


async def test_a_redirect_of_a_creating_call_is_refused_and_not_followed(
    outbound: Outbound, fake: FakeProvider
) -> None:
    fake.then(Status(307, headers={"location": f"{fake.base_url}/images/generations"}))

    with pytest.raises(RefusedUnbilled, match="redirect 307"):
        await post(outbound, fake.base_url)

    assert len(fake.requests) == 1


@pytest.mark.parametrize("verb", [CloseAfterRequest(), Truncated(), Status(302), Hang()])
async def test_no_failure_tells_the_key_or_the_prompt(
    outbound: Outbound, fake: FakeProvider, verb: Verb
) -> None:
    fake.then(verb)

    with pytest.raises(AttemptFailed) as failed:
        await post(outbound, fake.base_url, timeout_s=0.3)

    assert "secret" not in str(failed.value)
    assert KEY not in str(failed.value)
