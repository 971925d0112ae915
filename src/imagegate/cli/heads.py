"""The heads of requests: they come in time, are of bounded length, and what is no HTTP gets an answer in JSON."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from imagegate.errors import CallerError, HeaderTooLarge, InvalidRequest, RequestTimeout
from imagegate.ids import new_id, public_id
from imagegate.web.doorstep import answer

LONGEST_HEAD_BYTES = 64 * 1024
"""Of a head that is still coming; what a whole one may have is less, and is told by the application."""

Refusal = Callable[[bytes, bytes, list[tuple[bytes, bytes]]], bytes | None]
"""What is answered to a head (method, URL, headers) behind the first line of a 503; None: it is a request like any."""

NOWHERE: Any = deque(maxlen=0)
"""Keeps nothing of what is appended."""

LATE = RequestTimeout("The head of the request did not arrive in time.")
LONG = HeaderTooLarge(f"The head of the request is longer than {LONGEST_HEAD_BYTES} bytes.")


class HeadsInTime(HttpToolsProtocol):
    """uvicorn's protocol has no bound for a head that comes in drops, in time or in length.

    A clock runs from the connection on, and from the first byte of a head that does not come in one piece; between
    requests it is uvicorn's keep-alive that ends a connection.
    """

    def __init__(
        self, *args: Any, header_timeout_s: float, refusal: Refusal | None = None, **named: Any
    ) -> None:
        super().__init__(*args, **named)
        self._refusal = refusal
        self._patience_s = header_timeout_s
        self._coming = False
        self._came_bytes = 0
        self._clock: asyncio.TimerHandle | None = None
        self._fed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._coming, self._clock = True, self.loop.call_later(self._patience_s, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._coming, self._came_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._coming = False
        if self._refusal is None or not self._turned_away(self._refusal):
            super().on_headers_complete()
        self.headers = NOWHERE  # uvicorn takes what follows the last chunk for headers, an API key among them

    def _turned_away(self, refusal: Refusal) -> bool:
        """Answered here; its body, if any, is read past. Not while an answer before it is still due."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        told = refusal(self.parser.get_method(), self.url, self.headers)
        if told is None:
            return False
        self.cycle = cast(Any, TurnedAway())
        kept = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        usual = (*self.server_state.default_headers, *([] if kept else [(b"connection", b"close")]))
        head = b"".join(b"%s: %s\r\n" % pair for pair in usual)
        self.transport.write(STATUS_LINE[503] + head + told)
        if not kept:
            self.transport.close()
        self.on_response_complete()
        return True

    def on_message_complete(self) -> None:
        """A body that ended after its answer has stopped the clock of a kept connection: it starts anew."""
        super().on_message_complete()
        stopped = self.cycle.response_complete and self.timeout_keep_alive_task is None
        if stopped and not self.transport.is_closing():
            patience = (self.timeout_keep_alive, self.timeout_keep_alive_handler)
            self.timeout_keep_alive_task = self.loop.call_later(*patience)

    def on_body(self, body: bytes) -> None:
        self._fed = True
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        self._fed = False
        super().data_received(data)
        if not self._coming:
            if self._clock is not None:
                self._stop_clock()
            self._look_between(len(data))
        elif not self.transport.is_closing():
            self._came_bytes += len(data)
            if self._came_bytes > LONGEST_HEAD_BYTES:
                self._refuse(LONG)
            elif self._clock is None:
                self._clock = self.loop.call_later(self._patience_s, self._late)

    def _look_between(self, came_bytes: int) -> None:
        """What a body has beside its bytes, extensions of its chunks and what follows them, is bounded too."""
        if self._fed or self.cycle is None or not self.cycle.more_body:
            self._came_bytes = 0
            return
        self._came_bytes += came_bytes
        if self._came_bytes > LONGEST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(LONG)

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest("This is not HTTP/1.1 as a server can read it.", code="invalid_http"))

    def _late(self) -> None:
        """A connection on which nothing came at all is closed without a word, as a keep-alive is."""
        self._clock = None
        if self._came_bytes:
            self._refuse(LATE)
        else:
            self.transport.close()

    @property
    def _answering(self) -> bool:
        """Whether an answer is under way, or is due for a request that was whole."""
        known = self.cycle
        if known is None or known.response_complete:
            return False
        return bool(known.response_started or self._coming or not known.more_body)

    def _refuse(self, error: CallerError) -> None:
        if self._answering:  # a refusal now would be read as that answer, or as a part of it
            self.transport.close()
            return
        told = answer(error, public_id("req", new_id()))
        self.transport.write(STATUS_LINE[error.status] + b"connection: close\r\n" + told)
        self.transport.close()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class TurnedAway:
    """In the place of uvicorn's cycle: a request that was answered without one."""

    disconnected = False
    response_started = response_complete = True
    more_body = False

    def __init__(self) -> None:
        self.message_event = asyncio.Event()


def heads_in_time(header_timeout_s: float, refusal: Refusal | None = None) -> Any:
    """What uvicorn takes as `http`."""
    return partial(HeadsInTime, header_timeout_s=header_timeout_s, refusal=refusal)
