"""`stream: true`: a generation as server-sent events, by OpenAI's names.

Wire format: https://platform.openai.com/docs/api-reference/images-streaming, read 2026-11-21 through the official
client openai 3.54. Ours: `metadata` beside OpenAI's fields, and pings as comments.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi.sse import format_sse_event
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from imagegate.dialects.openai import reply
from imagegate.domain import Generation, GenerationRequest, Image, Principal
from imagegate.errors import ImagegateError
from imagegate.ids import image_id, public_id
from imagegate.services import Services
from imagegate.settings import Settings
from imagegate.web.outages import OUTAGES, outage
from imagegate.web.process import openai_error
from imagegate.web.sse import Begun, EventStream, Part, begin
from imagegate.web.told import headers_for

log = structlog.get_logger()

GENERATIONS = "images/generations"
RESPONSES: dict[str, Any] = {
    "200": {
        "content": {"text/event-stream": {"schema": {"type": "string", "description": "With stream: true."}}}
    }
}
"""Beside JSON, for OpenAPI."""


async def stream(
    request: Request, services: Services, principal: Principal, wanted: GenerationRequest, route: str
) -> Response:
    """The status is committed once the hold is taken; what fails from then on is an event of its own.

    Raises what comes before the hold.
    """
    settings, kind = services.settings, kind_of(route)
    begun = await begin(request, services, principal, wanted, route)
    if isinstance(begun, Generation):
        parts = completed(kind, begun, settings)

        async def known() -> Sequence[Part]:
            return parts

        return EventStream(known, settings.stream_ping_s, headers_for(begun))
    request_id = request.scope.get("imagegate.request_id", "")

    async def events() -> Sequence[Part]:
        return await ending(begun, kind, settings, request_id)

    headers = {"x-imagegate-generation-id": public_id("gen", begun.generation_id)}
    return EventStream(events, settings.stream_ping_s, headers)


def kind_of(route: str) -> str:
    """What the names of the events begin with."""
    return "image_generation" if route == GENERATIONS else "image_edit"


async def ending(begun: Begun, kind: str, settings: Settings, request_id: str) -> Sequence[Part]:
    """The completed events, once the images are paid; else the error."""
    try:
        return completed(kind, await begun.ends, settings)
    except ImagegateError as error:
        return [failed(error, request_id)]
    except OUTAGES as error:
        return [failed(outage(error), request_id)]
    except Exception:
        log.exception("unhandled", request_id=request_id)
        return [failed(ImagegateError("The gateway failed; this is a bug."), request_id)]


def failed(error: ImagegateError, request_id: str) -> bytes:
    _, body = openai_error(error, request_id)
    return format_sse_event(event="error", data_str=to_json(body).decode())


def completed(kind: str, generation: Generation, settings: Settings) -> list[Part]:
    """One event an image. `usage` counts all of them together, so only the last event has it."""
    parts: list[Part] = []
    described = reply.described(generation, settings)
    last = len(generation.images) - 1
    for index, image in enumerate(generation.images):
        usage = described.get("usage") if index == last else None
        beside = {"image_id": image_id(generation.id, index), "usage": usage}
        parts += event(f"{kind}.completed", image, told(generation, image, described) | beside)
    return parts


def told(generation: Generation, image: Image, described: dict[str, Any]) -> dict[str, Any]:
    """What stands beside `type` and `b64_json`. Where nothing was said of quality or background they are `auto`."""
    revised = {"revised_prompt": image.revised_prompt} if image.revised_prompt else {}
    return {
        "created_at": int((generation.completed_at or generation.created_at).timestamp()),
        "size": str(image.size),
        "quality": described.get("quality", "auto"),
        "background": described.get("background", "auto"),
        "output_format": image.mime.partition("/")[2],
        "metadata": described["metadata"],
        **revised,
    }


def event(name: str, image: Image, rest: dict[str, Any]) -> list[Part]:
    """One line of data, around the image's base64 as it lies in memory."""
    head = f'event: {name}\ndata: {{"type":"{name}","b64_json":"'.encode("ascii")
    return [head, image.b64 or b"", b'",', to_json(rest)[1:], b"\n\n"]
