"""What all of OpenAI's routes that make images share: read the body, call the line, write the answer."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imagegate import failpoints
from imagegate.dialects.openai import reply
from imagegate.dialects.openai.estimate import estimate_reply, is_dry
from imagegate.domain import GenerationRequest, Principal
from imagegate.generation import pipeline
from imagegate.services import Services
from imagegate.web.dependencies import asked_of
from imagegate.web.guards import parse_object, read_json_body
from imagegate.web.listener import Listener
from imagegate.web.media import mint_links

INLINE_BYTES = 256 * 1024
"""Longer bodies hold pictures, and are parsed where the event loop does not wait for it."""

Read = Callable[[dict[str, Any]], GenerationRequest]


async def read_json(request: Request, services: Services, read: Read) -> GenerationRequest:
    """Raises what `web.guards` and `read` raise."""
    body = await read_json_body(request, services.settings)
    if len(body) <= INLINE_BYTES:
        return read(parse_object(body))
    return await services.pool.run(parsed, body, read)


def parsed(body: bytes, read: Read) -> GenerationRequest:
    return read(parse_object(body))


async def answer(
    request: Request, services: Services, principal: Principal, wanted: GenerationRequest, route: str
) -> Response:
    """Make the images and tell of them, or say what they would cost. `route`: one for all addresses of a route."""
    if is_dry(request):
        return await estimate_reply(request, services, principal, wanted)
    asked = asked_of(request, route)
    generation = await pipeline.generate(services, principal, wanted, asked, Listener(request))
    urls = mint_links(request, generation) if reply.wants(generation)[0] else []
    failpoints.reach(services.settings, "before_answer")
    return reply.generation_reply(generation, urls, services.settings)
