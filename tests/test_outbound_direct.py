"""What the client of creating calls does with its connections: never another call's answer, never half a request."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imagegate.errors import Ambiguous, NotSent
from imagegate.outbound import Answer, Outbound, open_outbound
from tests.certificates import certificate_for
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Hang, Raw
from tests.post_cases import post

MEGABYTES = b"x" * 30_000_000
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
UNASKED = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{'other':1}"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with open_outbound() as outbound:
        yield outbound


class Server:
    """A bare server: `serve` answers one connection, which stays open until the end of the test."""

    def __init__(self, serve: Serve, context: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._context = context
        self.writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self.writers:
                writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await self._serve(reader, writer)


async def read_post(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))


async def answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await read_post(reader)
            writer.write(EMPTY)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def send(outbound: Outbound, url: str, body: bytes = b"{}", timeout_s: float = 5.0) -> Answer:
    return await outbound.post_json(url, body=body, headers={}, provider="fake", timeout_s=timeout_s)


async def test_an_answer_that_came_unasked_is_not_taken_for_the_next_ones(outbound: Outbound) -> None:
    async with Server(answer_each).running() as server:
        url = f"http://127.0.0.1:{server.port}/"
        await send(outbound, url)
        server.writers[0].write(UNASKED)
        for _ in range(10):
            await asyncio.sleep(0)

        answer = await send(outbound, url)

    assert answer.body == b"{}"
    assert len(server.writers) == 2


async def test_a_connection_with_two_answers_to_one_request_is_not_kept(outbound: Outbound) -> None:
    async def answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_post(reader)
        writer.write(EMPTY + UNASKED)

    async with Server(answer_twice).running() as server:
        for _ in range(3):
            assert (await send(outbound, f"http://127.0.0.1:{server.port}/")).body == b"{}"

    assert len(server.writers) == 3


async def test_a_connection_is_kept_for_the_next_call(outbound: Outbound) -> None:
    async with Server(answer_each).running() as server:
        for body in (b"{}", MEGABYTES, b"{}"):
            await send(outbound, f"http://127.0.0.1:{server.port}/", body)

    assert len(server.writers) == 1


async def test_an_answer_before_the_request_is_out_counts_and_ends_the_connection(outbound: Outbound) -> None:
    async def refuse_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")

    async with Server(refuse_unread).running() as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert (await send(outbound, url, MEGABYTES)).status == 413
        assert (await send(outbound, url)).status == 413

    assert len(server.writers) == 2


async def test_a_connection_that_breaks_under_megabytes_is_ambiguous(outbound: Outbound) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with Server(break_off).running() as server:
        with pytest.raises(Ambiguous, match="broke the connection off"):
            await send(outbound, f"http://127.0.0.1:{server.port}/", MEGABYTES)

    assert len(server.writers) == 1


@pytest.mark.parametrize("body", [b"{}", MEGABYTES], ids=["small", "megabytes"])
async def test_the_server_sees_that_a_call_was_cancelled(outbound: Outbound, body: bytes) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        try:
            while await reader.read(2**20):
                pass
        except ConnectionError:
            pass
        closed.set()

    async with Server(wait_for_the_end).running() as server:
        call = asyncio.create_task(send(outbound, f"http://127.0.0.1:{server.port}/", body))
        await arrived.wait()
        call.cancel()

        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(closed.wait(), 5.0)


async def test_interim_answers_are_passed_over(outbound: Outbound) -> None:
    async with FakeProvider() as fake:
        fake.then(Raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + EMPTY))

        answer = await post(outbound, fake.base_url)

    assert (answer.status, answer.body) == (200, b"{}")


async def test_a_body_without_a_length_ends_with_its_connection(outbound: Outbound) -> None:
    async with FakeProvider() as fake:
        fake.then(Raw(b"HTTP/1.1 200 OK\r\n\r\n{'whole': 1}"))

        assert (await post(outbound, fake.base_url)).body == b"{'whole': 1}"


async def test_a_call_whose_time_is_over_before_it_had_a_connection_is_not_sent() -> None:
    async with FakeProvider() as fake, open_outbound(connections=1) as outbound:
        fake.then(Hang())
        first = asyncio.create_task(post(outbound, fake.base_url))
        await fake.arrived(1)

        with pytest.raises(NotSent, match="no connection in time"):
            await post(outbound, fake.base_url, timeout_s=0.1)

        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await post(outbound, fake.base_url)).status == 200
    assert len(fake.requests) == 2


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_key_is_sent_only_to_whom_the_certificate_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    context = certificate_for("localhost", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    async with Server(answer_each, context).running() as server, open_outbound() as outbound:
        url = f"https://{host}:{server.port}/"
        if host == "localhost":
            assert (await send(outbound, url, MEGABYTES)).body == b"{}"
        else:
            with pytest.raises(NotSent, match="TLS failed"):
                await send(outbound, url)


@pytest.mark.parametrize("name", ["x-evil\r\nx", "x evil", "x:evil", ""])
async def test_a_name_that_would_break_the_header_is_not_sent(outbound: Outbound, name: str) -> None:
    with pytest.raises(NotSent, match="cannot be used"):
        await outbound.post_json(
            "http://127.0.0.1:1/", body=b"{}", headers={name: "1"}, provider="fake", timeout_s=1.0
        )
