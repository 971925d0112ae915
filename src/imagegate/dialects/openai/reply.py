"""A generation in OpenAI's shape, with what imagegate adds under `metadata` and in headers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from imagegate.domain import Generation, Image
from imagegate.generation.purge import GONE
from imagegate.ids import image_id
from imagegate.settings import Settings
from imagegate.web.parts import PartsResponse
from imagegate.web.told import headers_for, metadata

B64_ONLY = ("gpt-image", "chatgpt-image")


def wants(generation: Generation) -> tuple[bool, bool]:
    """Whether the answer carries url and b64_json. Said → obeyed; GPT Image models → b64_json; others → both."""
    said = generation.request.get("response_format")
    if said is not None:
        return said == "url", said == "b64_json"
    name = generation.model.partition("/")[2]
    return not name.startswith(B64_ONLY), True


def generation_reply(generation: Generation, urls: Sequence[str], settings: Settings) -> Response:
    """The answer to a generation that has just been made. Megabytes of base64 are joined once, never parsed."""
    with_url, with_b64 = wants(generation)
    parts: list[bytes | memoryview] = [b'{"created":%d,"data":[' % int(generation.created_at.timestamp())]
    for index, image in enumerate(generation.images):
        parts.append(b"," if index else b"")
        named = image_id(generation.id, index)
        parts.extend(_item(image, named, urls[index] if with_url else None, with_b64))
    tail = to_json(described(generation, settings))
    parts += [b"],", tail[1:]]
    return PartsResponse(parts, headers_for(generation))


def _item(image: Image, named: str, url: str | None, with_b64: bool) -> list[bytes | memoryview]:
    rest: dict[str, Any] = {"url": url, "image_id": named} if url else {"image_id": named}
    if image.revised_prompt:
        rest["revised_prompt"] = image.revised_prompt
    if not with_b64:
        return [to_json(rest)]
    b64 = image.b64 if image.b64 is not None else b""
    return [b'{"b64_json":"', b64, b'",', to_json(rest)[1:]]


def described(generation: Generation, settings: Settings) -> dict[str, Any]:
    """What stands beside `created` and `data`."""
    first = generation.images[0]
    said = generation.request
    body: dict[str, Any] = {
        "id": generation.public_id,
        "size": str(first.size),
        "quality": generation.quote.get("quality"),
        "background": said.get("background"),
        "output_format": first.mime.partition("/")[2],
    }
    if generation.usage and "total_tokens" in generation.usage:
        body["usage"] = generation.usage
    return {k: v for k, v in body.items() if v is not None} | {"metadata": metadata(generation, settings)}


def generation_object(generation: Generation, urls: Sequence[str], settings: Settings) -> dict[str, Any]:
    """`GET /v1/images/generations/{id}`: a status, and once completed the answer's fields with fresh links."""
    failed = generation.status in ("failed", "cancelled")
    error = {"code": generation.error_code, "message": generation.error_message} if failed else None
    expiries = [image.expires_at for image in generation.images if image.expires_at]
    if generation.status == "queued":
        expiries = [generation.created_at + timedelta(seconds=settings.job_expires_s)]
    body: dict[str, Any] = {
        "id": generation.public_id,
        "object": "image.generation",
        "status": generation.status,
        "created_at": int(generation.created_at.timestamp()),
        "completed_at": int(generation.completed_at.timestamp()) if generation.completed_at else None,
        "expires_at": int(min(expiries).timestamp()) if expiries else None,
        "model": generation.model,
        "charged_tokens": generation.charged_tokens,
        "error": error,
    }
    if generation.images:
        revised = [image.revised_prompt for image in generation.images]
        body["created"] = body["created_at"]
        body["data"] = [
            {
                "url": url,
                "image_id": image_id(generation.id, index),
                **({"revised_prompt": text} if text else {}),
            }
            for index, (url, text) in enumerate(zip(urls, revised, strict=True))
        ]
        body |= described(generation, settings)
    return body


def gone_object(generation: Generation, settings: Settings) -> dict[str, Any]:
    """The same of one whose images are no longer kept: without them, and saying so in `error`."""
    body = generation_object(replace(generation, images=()), [], settings)
    return body | {"data": [], "error": {"code": "result_gone", "message": GONE}}
