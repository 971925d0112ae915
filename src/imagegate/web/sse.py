"""Server-sent events: an answer that begins before it is known, and says now and then that it goes on.

FastAPI has events of its own, but they commit the status before the first line of a handler runs and take their data
as text, which would copy megabytes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi.sse import KEEPALIVE_COMMENT
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from imagegate.domain import Generation, GenerationRequest, Preview, Principal
from imagegate.services import Services
from imagegate.web.drawing import draw
from imagegate.web.parts import joined

Part = bytes | memoryview
MOST_WAITING = 16
"""Events that may wait for a caller that reads slowly; a further one is left out."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A generation whose hold is taken. `ends`: gives it, or raises what it ended with."""

    generation_id: UUID
    ends: "asyncio.Task[Generation]"


async def begin(
    request: Request,
    services: Services,
    principal: Principal,
    wanted: GenerationRequest,
    route: str,
    when_shown: Callable[[Preview, int], None] | None = None,
) -> Begun | Generation:
    """Draw, and wait only until the hold is taken; a generation that is over already comes whole.

    when_shown: called with each preview, and the number of the call that it is from.
    Raises what comes before the hold, so that it can still be told with its status.
    """
    opened: asyncio.Future[UUID] = asyncio.get_running_loop().create_future()

    def tell(generation_id: UUID) -> None:
        if not opened.done():
            opened.set_result(generation_id)

    ends = asyncio.create_task(draw(request, services, principal, wanted, route, tell, when_shown))
    first: tuple[asyncio.Future[Any], ...] = (ends, opened)
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        ends.cancel()
        raise
    if opened.done():
        return Begun(opened.result(), ends)
    return await ends


class Early:
    """Events that go out before the end is known. Whoever reads slowly gets not all of them: few are kept."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Sequence[Part]] = asyncio.Queue(MOST_WAITING)

    def put(self, parts: Sequence[Part]) -> None:
        """One whole event, in parts as those of the end."""
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(parts)

    async def take(self) -> Sequence[Part]:
        return await self._waiting.get()


class EventStream(Response):
    """The first comment goes out at once, then a ping every `ping_s` seconds until the events are known.

    events: gives whole events in parts, of which long ones are not copied; it raises nothing. Its last part ends the
    answer, so that whoever has the events has the whole of it. early: what is sent in the meantime; once the events
    are known nothing of it is sent any more.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: Callable[[], Awaitable[Sequence[Part]]],
        ping_s: float,
        headers: Mapping[str, str],
        early: Early | None = None,
    ) -> None:
        super().__init__(headers={"x-accel-buffering": "no", **headers})
        del self.headers["content-length"]
        self._events = events
        self._ping_s = ping_s
        self._early = early

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        events = asyncio.ensure_future(self._events())
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            await send(piece(KEEPALIVE_COMMENT))
            await self._wait(events, send)
            *parts, last = joined(await events)
            for part in parts:
                await send(piece(part))
            await send(piece(last, more=False))
        finally:
            events.cancel()

    async def _wait(self, events: "asyncio.Future[Sequence[Part]]", send: Send) -> None:
        """Until the events are known: what comes early as it comes, and pings where nothing does."""
        early = asyncio.ensure_future(self._early.take()) if self._early else None
        try:
            while not events.done():
                waits = {events} if early is None else {events, early}
                await asyncio.wait(waits, timeout=self._ping_s, return_when=asyncio.FIRST_COMPLETED)
                if events.done():
                    return
                if self._early is None or early is None or not early.done():
                    await send(piece(KEEPALIVE_COMMENT))
                    continue
                parts, early = early.result(), asyncio.ensure_future(self._early.take())
                for part in joined(parts):
                    await send(piece(part))
        finally:
            if early is not None:
                early.cancel()


def piece(body: Part, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
