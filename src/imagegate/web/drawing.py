"""What every route that makes images does, whatever its dialect: read the body, call the line."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from imagegate import failpoints
from imagegate.domain import Generation, GenerationRequest, Principal
from imagegate.generation import pipeline
from imagegate.services import Services
from imagegate.web.dependencies import asked_of
from imagegate.web.guards import parse_object, read_json_body
from imagegate.web.listener import Listener

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


async def draw(
    request: Request, services: Services, principal: Principal, wanted: GenerationRequest, route: str
) -> Generation:
    """Make the images. `route`: one name for all addresses of a route, by which repetitions are recognised."""
    asked = asked_of(request, route)
    generation = await pipeline.generate(services, principal, wanted, asked, Listener(request))
    failpoints.reach(services.settings, "before_answer")
    return generation
