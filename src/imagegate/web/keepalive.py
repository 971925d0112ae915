"""Answers that may begin before they are known: white space, which JSON may begin with, until the body comes.

For keys that ask for it, whose callers sit behind proxies that cut a connection which is silent for a minute or two.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from imagegate.domain import Generation, GenerationRequest, Principal
from imagegate.errors import ImagegateError
from imagegate.ids import public_id
from imagegate.services import Services
from imagegate.web.drawing import draw
from imagegate.web.outages import told_of
from imagegate.web.parts import PartsResponse, joined
from imagegate.web.process import error_response
from imagegate.web.sse import Begun, Part, begin, piece

Tell = Callable[[Generation], Awaitable[Response]]
"""Writes the answer of a generation that is completed."""


async def answered(
    request: Request,
    services: Services,
    principal: Principal,
    wanted: GenerationRequest,
    route: str,
    tell: Tell,
) -> Response:
    """Draw and tell. `route`: one name for all addresses of a route.

    For a key with keep-alive, what takes longer than `keepalive_s` from the hold on is answered with status 200 from
    then on, whatever comes of it. Raises what comes before.
    """
    if not principal.keepalive:
        return await tell(await draw(request, services, principal, wanted, route))
    begun = await begin(request, services, principal, wanted, route)
    if isinstance(begun, Generation):
        return await tell(begun)
    try:
        await asyncio.wait({begun.ends}, timeout=services.settings.keepalive_s)
    except asyncio.CancelledError:
        begun.ends.cancel()
        raise
    if begun.ends.done():
        return await tell(await begun.ends)
    return SlowAnswer(request, begun, tell, services.settings.keepalive_s)


class SlowAnswer(Response):
    """JSON under status 200, begun with a space; a further one every `every_s` seconds until the rest is known.

    Its last part ends the answer, so that whoever has the images has the whole of it.
    """

    media_type = "application/json"

    def __init__(self, request: Request, begun: Begun, tell: Tell, every_s: float) -> None:
        named = public_id("gen", begun.generation_id)
        super().__init__(headers={"x-imagegate-generation-id": named, "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._request, self._begun, self._tell, self._every_s = request, begun, tell, every_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = asyncio.ensure_future(late(self._request, self._begun, self._tell))
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        try:
            await send(start)
            await send(piece(b" "))
            while not (await asyncio.wait({told}, timeout=self._every_s))[0]:
                await send(piece(b" "))
            *parts, last = await told
            for part in parts:
                await send(piece(part))
            await send(piece(last, more=False))
        finally:
            told.cancel()


async def late(request: Request, begun: Begun, tell: Tell) -> Sequence[Part]:
    """The body, or the error in its place. Raises nothing: the status has been sent."""
    try:
        response = await tell(await begun.ends)
    except Exception as error:
        return [failed(request, told_of(error))]
    return joined(response.parts) if isinstance(response, PartsResponse) else [response.body]


def failed(request: Request, error: ImagegateError) -> bytes:
    """The error's usual body, and in it the status that it would have had."""
    response = error_response(request, error)
    told = from_json(bytes(response.body))
    if isinstance(told["error"], dict):
        told["error"]["status"] = response.status_code
    return to_json(told)
