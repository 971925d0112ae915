"""Creating calls over an httpx transport, such as `httpx.MockTransport`: for tests that need no socket."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import httpx

from imagegate.outbound.client import FIXED_HEADERS, Answer, Post, Sending, declared_bytes
from imagegate.outbound.events import Opened


class StandInApi:
    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, post: Post, sending: Sending, max_bytes: int) -> Answer | None:
        """What a foreign transport did before it failed is unknown, so none of its failures is NotSent."""
        response = await self._send(post, sending)
        try:
            content = await read_body(response, max_bytes)
        finally:
            await response.aclose()
        return None if content is None else Answer(response.status_code, response.headers, content)

    @asynccontextmanager
    async def open(self, post: Post, sending: Sending) -> AsyncIterator[Opened]:
        response = await self._send(post, sending)
        try:
            chunks = aiter(cast(AsyncIterable[bytes], response.stream))
            yield Opened(response.status_code, response.headers, chunks)
        finally:
            await response.aclose()

    async def _send(self, post: Post, sending: Sending) -> httpx.Response:
        headers = [*FIXED_HEADERS, *post.headers]
        request = httpx.Request(post.method, post.target.url, headers=headers, content=post.body)
        sending.begun = True
        return await self._transport.handle_async_request(request)


async def read_body(response: httpx.Response, max_bytes: int) -> bytes | None:
    """The raw body; None when it is longer than `max_bytes`."""
    if declared_bytes(response.headers) > max_bytes:
        return None
    chunks, size = [], 0
    async for chunk in cast(AsyncIterable[bytes], response.stream):
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
