"""Creating calls in production: one request and one answer, written and read on a connection of aiohttp's pool.

aiohttp's own request, response and session objects cost more than everything else of a call together, so only
its pool, its look-up of names, its TLS and its parser are used. That also makes certain what was sent:
whatever fails before the pool has given a connection has sent nothing, since only this file writes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage, StreamWriter
from yarl import URL

from imagegate.outbound.arriving import LONG_BYTES, make_room
from imagegate.outbound.client import Answer, Post, Sending, Target, declared_bytes, written
from imagegate.outbound.events import Opened

WHOLE_BYTES = 512 * 1024
SLICE_BYTES = 64 * 1024
MAX_PLACES = 256
MAX_SPOILT = 8
SWITCHING_PROTOCOLS = 101


class DirectApi:
    def __init__(self, connector: aiohttp.BaseConnector, *, connect_s: float) -> None:
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s)
        self._places: dict[str, aiohttp.ClientRequest] = {}

    async def send(self, post: Post, sending: Sending, max_bytes: int) -> Answer | None:
        connection = await self._connect(self._place(post.target))
        sending.begun = True
        answer = None
        try:
            answer = await converse(connection, post, max_bytes)
        finally:
            let_go(connection, reusable=answer is not None)
        return answer

    @asynccontextmanager
    async def open(self, post: Post, sending: Sending) -> AsyncIterator[Opened]:
        connection = await self._connect(self._place(post.target))
        sending.begun = True
        try:
            async with conversing(connection, post) as opened:
                yield opened
        finally:
            let_go(connection, reusable=False)

    async def _connect(self, place: aiohttp.ClientRequest) -> Connection:
        """A kept connection on which something came unasked is spoilt: it would be taken for the answer."""
        for _ in range(MAX_SPOILT):
            connection = await self._connector.connect(place, [], self._timeout)
            protocol = connection.protocol
            if protocol is None or not protocol.is_connected() or not protocol.should_close:
                return connection
            connection.close()
        raise aiohttp.ClientConnectionError("speaks before it is asked")

    def _place(self, target: Target) -> aiohttp.ClientRequest:
        """What the pool wants to know about where to connect; it is never sent."""
        place = self._places.get(target.origin)
        if place is None:
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            url = URL(target.origin, encoded=True)
            place = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())
            self._places[target.origin] = place
        return place


async def converse(connection: Connection, post: Post, max_bytes: int) -> Answer | None:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ClientConnectionResetError("the connection is gone")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    if len(post.body) <= WHOLE_BYTES:
        transport.write(head_of(post) + post.body)
        return await read_answer(protocol, max_bytes)
    sending = asyncio.create_task(write_slices(protocol, post))
    try:
        return await read_answer(protocol, max_bytes)
    finally:
        if not sending.done():
            protocol.force_close()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@asynccontextmanager
async def conversing(connection: Connection, post: Post) -> AsyncIterator[Opened]:
    """The request is on its way, and the head of its answer is there."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ClientConnectionResetError("the connection is gone")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    sending = asyncio.create_task(write_slices(protocol, post))
    try:
        message, stream = await protocol.read()
        while is_interim(message):
            message, stream = await protocol.read()
        yield Opened(message.code, message.headers, stream.iter_any())
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def write_slices(protocol: ResponseHandler, post: Post) -> None:
    """Megabytes written at once would hold up the event loop. The answer may come before they are out."""
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    await writer.write(head_of(post))
    view = memoryview(post.body)
    for start in range(0, len(view), SLICE_BYTES):
        await writer.write(view[start : start + SLICE_BYTES])


def head_of(post: Post) -> bytes:
    return b"%bContent-Length: %d\r\n%b\r\n" % (post.target.head, len(post.body), written(post.headers))


async def read_answer(protocol: ResponseHandler, max_bytes: int) -> Answer | None:
    """None when the body is longer than `max_bytes`."""
    message, stream = await protocol.read()
    while is_interim(message):
        message, stream = await protocol.read()
    declared = declared_bytes(message.headers)
    if declared > max_bytes:
        return None
    if declared > LONG_BYTES:
        await make_room(declared)
    chunks, size = [], 0
    while chunk := await stream.readany():
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
        if not declared and size - len(chunk) <= LONG_BYTES < size:
            await make_room(0)
    return Answer(message.code, message.headers, b"".join(chunks))


def is_interim(message: RawResponseMessage) -> bool:
    return message.code < 200 and message.code != SWITCHING_PROTOCOLS


def let_go(connection: Connection, *, reusable: bool) -> None:
    """Back into the pool only after a whole answer to a request that is out to its last byte.

    Any other connection is aborted: a mere close would go on sending what is still in the buffer.
    """
    transport = connection.transport
    if transport is not None and not (reusable and transport.get_write_buffer_size() == 0):
        transport.abort()
        connection.close()
    connection.release()
