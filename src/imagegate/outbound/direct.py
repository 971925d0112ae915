"""Creating calls in production: one request and one answer, written and read on a connection of aiohttp's pool.

aiohttp's own request, response and session objects cost more than everything else of a call together, so only
its pool, its look-up of names, its TLS and its parser are used. That also makes certain what was sent:
whatever fails before the pool has given a connection has sent nothing, since only this file writes.
"""

import asyncio

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage, StreamWriter
from yarl import URL

from imagegate.outbound.client import Answer, Post, Sending, declared_bytes

WHOLE_BYTES = 512 * 1024
SLICE_BYTES = 64 * 1024
MAX_PLACES = 256
MAX_SPOILT = 8
SWITCHING_PROTOCOLS = 101


class DirectApi:
    def __init__(self, connector: aiohttp.BaseConnector, *, connect_s: float) -> None:
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s)
        self._places: dict[tuple[str, bytes], aiohttp.ClientRequest] = {}

    async def send(self, post: Post, sending: Sending, max_bytes: int) -> Answer | None:
        connection = await self._connect(self._place(post))
        sending.begun = True
        answer = None
        try:
            answer = await converse(connection, post, max_bytes)
        finally:
            let_go(connection, reusable=answer is not None)
        return answer

    async def _connect(self, place: aiohttp.ClientRequest) -> Connection:
        """A kept connection on which something came unasked is spoilt: it would be taken for the answer."""
        for _ in range(MAX_SPOILT):
            connection = await self._connector.connect(place, [], self._timeout)
            protocol = connection.protocol
            if protocol is None or not protocol.is_connected() or not protocol.should_close:
                return connection
            connection.close()
        raise aiohttp.ClientConnectionError("speaks before it is asked")

    def _place(self, post: Post) -> aiohttp.ClientRequest:
        """What the pool wants to know about where to connect; it is never sent."""
        key = (post.url.scheme, post.url.netloc)
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            url = URL.build(
                scheme=post.url.scheme, host=post.url.raw_host.decode("ascii"), port=post.url.port
            )
            place = self._places[key] = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())
        return place


async def converse(connection: Connection, post: Post, max_bytes: int) -> Answer | None:
    protocol = connection.protocol
    if protocol is None:
        raise aiohttp.ClientConnectionResetError("the connection is gone")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    head = head_of(post)
    if len(post.body) <= WHOLE_BYTES:
        await writer.write(head + post.body, drain=False)
        return await read_answer(protocol, max_bytes)
    sending = asyncio.create_task(write_slices(writer, head, post.body))
    try:
        return await read_answer(protocol, max_bytes)
    finally:
        if not sending.done():
            protocol.force_close()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def write_slices(writer: StreamWriter, head: bytes, body: bytes) -> None:
    """Megabytes written at once would hold up the event loop. The answer may come before they are out."""
    await writer.write(head)
    view = memoryview(body)
    for start in range(0, len(body), SLICE_BYTES):
        await writer.write(view[start : start + SLICE_BYTES])


def head_of(post: Post) -> bytes:
    lines = b"".join([b"%b: %b\r\n" % header for header in post.headers])
    return b"POST %b HTTP/1.1\r\n%b\r\n" % (post.url.raw_path, lines)


async def read_answer(protocol: ResponseHandler, max_bytes: int) -> Answer | None:
    """None when the body is longer than `max_bytes`."""
    message, stream = await protocol.read()
    while is_interim(message):
        message, stream = await protocol.read()
    if declared_bytes(message.headers) > max_bytes:
        return None
    chunks, size = [], 0
    async for chunk in stream.iter_any():
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return Answer(message.code, message.headers, b"".join(chunks))


def is_interim(message: RawResponseMessage) -> bool:
    return message.code < 200 and message.code != SWITCHING_PROTOCOLS


def let_go(connection: Connection, *, reusable: bool) -> None:
    """Back into the pool only after a whole answer to a request that is out to its last byte."""
    transport = connection.transport
    if transport is not None and not (reusable and transport.get_write_buffer_size() == 0):
        transport.abort()
        connection.close()
    connection.release()
