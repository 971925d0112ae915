"""Creating calls that are answered as server-sent events: read as they come, with the certainties of `client`.

Format of events: https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-11-21.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from imagegate.errors import Ambiguous, RefusedUnbilled
from imagegate.outbound.client import NETWORK_ERRORS, Answer, Api, Post, Sending, declared_bytes, failure

EVENT_STREAM = "text/event-stream"
MAX_EVENT_BYTES = 48 * 1024 * 1024
"""An image of 32 MiB as base64, with what stands around it."""
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. name: empty where it has none. data: its lines, with a line feed between them."""

    name: str
    data: bytes


Take = Callable[[Event], Awaitable[bool]]
"""Called with each event in its order; True: it was the last that is wanted. Whatever it raises ends the call."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer whose head is there. `chunks`: its body as it comes."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class StreamApi(Protocol):
    def open(self, post: Post, sending: Sending) -> AbstractAsyncContextManager[Opened]:
        """Send once; the head of the answer. The connection is not used again.

        `sending.begun` is set before the first byte can leave. Raises one of NETWORK_ERRORS, also while chunks come.
        """


class BothApi(Api, StreamApi, Protocol):
    """What every back end can do."""


class TooLong(Exception):
    """More bytes came than are allowed; they are counted in its text."""


class EventReader:
    """Bytes in any pieces to whole events. Every byte is looked at once, however long its line is.

    max_bytes: of one event, without the ends of its lines. Raises TooLong.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line: list[bytes] = []
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that end in this chunk. One that has not ended when the stream does is none."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")  # the other half of a line's end
            self._after_cr = False
        for piece in chunk.splitlines(keepends=True):
            ended = piece.rstrip(b"\r\n")
            self._size += len(ended)
            if self._size > self._max_bytes:
                raise TooLong(f"an event of more than {self._max_bytes} bytes")
            if len(ended) == len(piece):
                self._line.append(piece)
                return
            line = b"".join([*self._line, ended]) if self._line else ended
            self._line = []
            if (event := self._end(line)) is not None:
                yield event
        self._after_cr = chunk.endswith(b"\r")

    def _end(self, line: bytes) -> Event | None:
        """What a whole line makes: an empty one ends an event, a comment nothing."""
        if not self._begun:
            line, self._begun = line.removeprefix(BOM), True
        if not line:
            event = Event(self._name, b"\n".join(self._data)) if self._data else None
            self._name, self._data, self._size = "", [], 0
            return event
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")
        elif line.startswith(b"event:"):
            self._name = line[6:].removeprefix(b" ").decode("utf-8", "replace")
        return None


async def post_events(
    api: StreamApi, post: Post, take: Take, *, provider: str, timeout_s: float, max_bytes: int
) -> Answer:
    """The events of an answer go to `take`; the body stays empty then. Any other answer comes whole.

    An answer is one of events when its status is 200 and its type says so. timeout_s and max_bytes: of everything.
    Raises as `post_json` does, and what `take` raises. A stream that ends is no error: `take` knows what it has got.
    """
    sending = Sending()
    try:
        async with asyncio.timeout(timeout_s), api.open(post, sending) as opened:
            if 300 <= opened.status < 400:
                text = f"answered with redirect {opened.status}: check its base URL"
                raise RefusedUnbilled(provider, text)
            if is_stream(opened):
                await read_events(opened, take, max_bytes)
                return Answer(opened.status, opened.headers, b"")
            return Answer(opened.status, opened.headers, await read_whole(opened, max_bytes))
    except NETWORK_ERRORS as error:
        raise failure(provider, error, sending, timeout_s) from error
    except TooLong as error:
        raise Ambiguous(provider, f"answered with {error}") from None


def is_stream(opened: Opened) -> bool:
    kind = opened.headers.get("content-type", "").partition(";")[0].strip().lower()
    return opened.status == 200 and kind == EVENT_STREAM


async def read_events(opened: Opened, take: Take, max_bytes: int) -> None:
    reader, size = EventReader(min(MAX_EVENT_BYTES, max_bytes)), 0
    async for chunk in opened.chunks:
        size += len(chunk)
        if size > max_bytes:
            raise TooLong(f"more than {max_bytes} bytes")
        for event in reader.feed(chunk):
            if await take(event):
                return


async def read_whole(opened: Opened, max_bytes: int) -> bytes:
    too_long = TooLong(f"more than {max_bytes} bytes")
    if declared_bytes(opened.headers) > max_bytes:
        raise too_long
    chunks, size = [], 0
    async for chunk in opened.chunks:
        size += len(chunk)
        if size > max_bytes:
            raise too_long
        chunks.append(chunk)
    return b"".join(chunks)
