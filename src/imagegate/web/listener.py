"""Watches whether a caller is still there, from the end of its body to the last part of its answer."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from starlette.requests import Request

from imagegate.domain import Preview
from imagegate.identity.limits import Taken
from imagegate.web.ratelimit import limit_headers

LISTENER = "imagegate.listener"
EXTRA_HEADERS = "imagegate.extra_headers"
"""Keys of the ASGI scope."""


class Listener:
    """The caller of one request. The body must have been read: what is received after it can only be the end."""

    def __init__(
        self,
        request: Request,
        when_open: Callable[[UUID], None] | None = None,
        when_shown: Callable[[Preview, int], None] | None = None,
    ) -> None:
        """when_open: called with the generation's id once the hold is taken. when_shown: with previews."""
        self._when_open = when_open
        self._when_shown = when_shown
        self._receive = request.receive
        self._scope = request.scope
        self._acts: list[Callable[[], None]] = []
        self._watch = asyncio.ensure_future(self._wait())
        self.gone = False
        request.scope[LISTENER] = self

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        for act in self._acts:
            act()

    async def is_gone(self) -> bool:
        # One turn of the loop: an end that has arrived already is seen.
        await asyncio.sleep(0)
        return self.gone

    def when_gone(self, act: Callable[[], None]) -> None:
        if self.gone:
            act()
        else:
            self._acts.append(act)

    def admitted(self, taken: Taken) -> None:
        headers = limit_headers(taken.levels)
        self._scope[EXTRA_HEADERS] = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]

    def opened(self, generation_id: UUID) -> None:
        if self._when_open is not None:
            self._when_open(generation_id)

    async def preview(self, preview: Preview, attempt: int) -> None:
        if self._when_shown is not None and not self.gone:
            self._when_shown(preview, attempt)

    def answered(self) -> None:
        """The last part goes out now. An end that was seen is one; a later one is none."""
        self._watch.cancel()
