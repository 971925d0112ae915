"""`stream: true`: a generation as server-sent events, by OpenAI's names.

Wire format: https://platform.openai.com/docs/api-reference/images-streaming, read 2026-11-21 through the official
client openai 3.54. Ours: `metadata` beside OpenAI's fields, and pings as comments.
"""

from collections.abc import Sequence
from time import time
from typing import Any

from fastapi.sse import format_sse_event
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from imagegate.dialects.openai import reply
from imagegate.domain import Generation, GenerationRequest, Image, Preview, Principal
from imagegate.errors import ImagegateError
from imagegate.ids import image_id, public_id
from imagegate.services import Services
from imagegate.settings import Settings
from imagegate.web.outages import told_of
from imagegate.web.process import openai_error
from imagegate.web.sse import Begun, Early, EventStream, Part, begin
from imagegate.web.told import headers_for

GENERATIONS = "images/generations"


async def stream(
    request: Request, services: Services, principal: Principal, wanted: GenerationRequest, route: str
) -> Response:
    """The status is committed once the hold is taken; what fails from then on is an event of its own.

    Raises what comes before the hold.
    """
    settings, kind = services.settings, kind_of(route)
    early = Early() if wanted.partial_images else None

    def show(preview: Preview, attempt: int) -> None:
        if early is not None:
            early.put(partial(kind, preview, attempt))

    begun = await begin(request, services, principal, wanted, route, show)
    if isinstance(begun, Generation):
        parts = completed(kind, begun, settings)

        async def known() -> Sequence[Part]:
            return parts

        return EventStream(known, settings.stream_ping_s, headers_for(begun))
    request_id = request.scope.get("imagegate.request_id", "")

    async def events() -> Sequence[Part]:
        return await ending(begun, kind, settings, request_id)

    headers = {"x-imagegate-generation-id": public_id("gen", begun.generation_id)}
    return EventStream(events, settings.stream_ping_s, headers, early)


def kind_of(route: str) -> str:
    """What the names of the events begin with."""
    return "image_generation" if route == GENERATIONS else "image_edit"


async def ending(begun: Begun, kind: str, settings: Settings, request_id: str) -> Sequence[Part]:
    """The completed events, once the images are paid; else the error."""
    try:
        return completed(kind, await begun.ends, settings)
    except Exception as error:
        return [failed(told_of(error), request_id)]


def failed(error: ImagegateError, request_id: str) -> bytes:
    _, body = openai_error(error, request_id)
    return format_sse_event(event="error", data_str=to_json(body).decode())


def partial(kind: str, preview: Preview, attempt: int) -> list[Part]:
    """The event of a preview. attempt: ours; it tells the previews of one image from those of another."""
    told = {
        "created_at": int(time()),
        "size": preview.size,
        "quality": preview.quality,
        "background": preview.background,
        "output_format": preview.output_format,
        "partial_image_index": preview.index,
        "attempt": attempt,
    }
    return event(f"{kind}.partial_image", preview.b64, told)


def completed(kind: str, generation: Generation, settings: Settings) -> list[Part]:
    """One event an image. `usage` counts all of them together, so only the last event has it."""
    parts: list[Part] = []
    described = reply.described(generation, settings)
    last = len(generation.images) - 1
    for index, image in enumerate(generation.images):
        usage = described.get("usage") if index == last else None
        beside = {"image_id": image_id(generation.id, index), "usage": usage}
        parts += event(f"{kind}.completed", image.b64 or b"", told(generation, image, described) | beside)
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


def event(name: str, b64: Part, rest: dict[str, Any]) -> list[Part]:
    """One line of data, around an image's base64 as it lies in memory."""
    head = f'event: {name}\ndata: {{"type":"{name}","b64_json":"'.encode("ascii")
    return [head, b64, b'",', to_json(rest)[1:], b"\n\n"]
