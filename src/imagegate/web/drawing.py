"""What every route that makes images does, whatever its dialect: read the body, call the line."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from starlette.requests import Request

from imagegate import failpoints
from imagegate.domain import Generation, GenerationRequest, ParameterReceipt, Preview, Principal
from imagegate.generation import pipeline
from imagegate.load import SMALL_BYTES, Lease
from imagegate.services import Services
from imagegate.web.dependencies import asked_of, own_key_of
from imagegate.web.guards import check_head, length_of, parse_object, read_json_body, text_of, turn
from imagegate.web.listener import Listener

INLINE_BYTES = 256 * 1024
"""Longer bodies hold pictures, and are parsed where the event loop does not wait for it."""

Meant = TypeVar("Meant")
Read = Callable[[dict[str, Any]], Meant]


async def read_json(request: Request, services: Services, read: Read[Meant]) -> Meant:
    """What the body means. Raises what `web.guards` and `read` raise, and Overloaded before a byte of it is read."""
    await turn(request, services.load)
    size_bytes = length_of(request)
    if size_bytes is not None and size_bytes <= SMALL_BYTES:
        return await _read(request, services, read)
    check_head(request, services.settings.max_body_bytes)
    async with services.load.reading(size_bytes or 0) as lease:
        return await _read(request, services, read, lease)


async def _read(request: Request, services: Services, read: Read[Meant], lease: Lease | None = None) -> Meant:
    body = await read_json_body(request, services.settings, lease)
    if len(body) <= INLINE_BYTES:
        return read(parse_object(text_of(body)))
    held = [body]
    del body
    return await services.pool.run(parsed, held, read)


def parsed(held: list[bytes], read: Read[Meant]) -> Meant:
    """held: the body alone, which is taken out: as bytes, as text and in values, it would be held three times."""
    return read(parse_object(text_of(held.pop())))


SANDBOXED = ParameterReceipt(
    "x-provider-key", "emulated", "a test key draws with the sandbox, which takes no key"
)


def with_own_key(request: Request, principal: Principal, wanted: GenerationRequest) -> GenerationRequest:
    """The request with the caller's own provider key, where one was sent. Raises InvalidRequest."""
    own_key = own_key_of(request)
    if own_key is None:
        return wanted
    treated = (*wanted.treated, SANDBOXED) if principal.env == "test" else wanted.treated
    return replace(wanted, own_key=own_key, treated=treated)


async def draw(
    request: Request,
    services: Services,
    principal: Principal,
    wanted: GenerationRequest,
    route: str,
    when_open: Callable[[UUID], None] | None = None,
    when_shown: Callable[[Preview, int], None] | None = None,
) -> Generation:
    """Make the images. `route`: one name for all addresses of a route, by which repetitions are recognised.

    when_open: called with the generation's id once the hold is taken. when_shown: with each preview, and the number of
    the call that it is from.
    """
    asked = asked_of(request, route)
    wanted = with_own_key(request, principal, wanted)
    listener = Listener(request, when_open, when_shown)
    generation = await pipeline.generate(services, principal, wanted, asked, listener)
    failpoints.reach(services.settings, "before_answer")
    return generation
