"""Heads of requests on raw sockets, against the server that `serve` starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from imagegate.cli.heads import LONGEST_HEAD_BYTES
from imagegate.services import Services
from tests.conftest import listening

PATIENCE_S = 0.3
ASK = b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n"


@pytest.fixture
async def port(services: Services) -> AsyncIterator[int]:
    """Of a gateway that waits 0.3 s for a head."""
    settings = services.settings.model_copy(update={"header_timeout_s": PATIENCE_S})
    async with listening(replace(services, settings=settings)) as url:
        yield int(url.rpartition(":")[2])


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """Until the end; a server that does not read on may end it by a reset."""
    read = b""
    with suppress(ConnectionResetError):
        while piece := await asyncio.wait_for(reader.read(65_536), 5):
            read += piece
    return read


async def test_a_connection_that_says_nothing_is_closed_without_a_word(port: int) -> None:
    async with connected(port) as (reader, _):
        assert await all_of(reader) == b""


async def test_a_head_that_comes_in_drops_is_answered_408(port: int) -> None:
    async with connected(port) as (reader, writer):

        async def drip() -> None:
            for byte in ASK[:-2] * 100:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        answer = await all_of(reader)
        dripping.cancel()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    assert b"x-should-retry: true" in answer


async def test_the_second_head_of_a_connection_has_its_own_clock(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(ASK)
        first = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(PATIENCE_S * 1.5)
        writer.write(ASK[:20])
        rest = await all_of(reader)

    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in rest


async def test_a_head_in_two_pieces_and_requests_in_one_are_served(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(ASK[:20])
        await asyncio.sleep(PATIENCE_S / 3)
        writer.write(ASK[20:] + ASK + ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        answer = await all_of(reader)

    assert answer.count(b"HTTP/1.1 200 ") == 3


async def test_a_head_without_an_end_is_answered_431(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(ASK[:-2] + b"x-long: " + b"x" * LONGEST_HEAD_BYTES)
        answer = await all_of(reader)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"header_too_large"' in answer


async def test_what_is_no_http_gets_an_error_in_json(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        answer = await all_of(reader)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_http"' in answer


async def test_many_slow_heads_keep_nobody_else_from_being_answered(port: int) -> None:
    connections = []
    for _ in range(200):
        connections.append(await asyncio.open_connection("127.0.0.1", port))
        connections[-1][1].write(ASK[:20])

    async with connected(port) as (reader, writer):
        writer.write(ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        answered = await all_of(reader)
    ends = await asyncio.gather(*(all_of(reader) for reader, _ in connections))
    for _, writer in connections:
        writer.close()

    assert answered.startswith(b"HTTP/1.1 200 ")
    assert all(end.startswith(b"HTTP/1.1 408 ") for end in ends)
