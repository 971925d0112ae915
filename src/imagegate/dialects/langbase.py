"""Langbase's Images API: `POST /v1/images`, answered as a chat completion whose messages hold the images.

Wire format: https://langbase.com/docs/api-reference/images, read 2026-11-21, and its client langbase 1.2.4.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from imagegate.domain import Generation, GenerationRequest
from imagegate.errors import ImagegateError
from imagegate.services import Services
from imagegate.web.bodies import ImageFields
from imagegate.web.dependencies import authenticate, services_of
from imagegate.web.drawing import read_json
from imagegate.web.estimate import estimate_reply, is_dry
from imagegate.web.faults import checked
from imagegate.web.keepalive import answered
from imagegate.web.media import mint_links
from imagegate.web.openapi import described
from imagegate.web.pictures import PICTURE, pictures_of
from imagegate.web.process import Face, openai_error
from imagegate.web.told import headers_for, metadata, serving_attempt

router = APIRouter(tags=["langbase"])

PATH = "/v1/images"


class ImageBody(ImageFields):
    """What to draw, and from which picture, if there is one."""

    model_config = ConfigDict(title="LangbaseImageRequest")

    model: Annotated[
        str, Field(min_length=1, max_length=200, description="`provider:model-name`: that provider is asked.")
    ]
    image_url: Annotated[Any, PICTURE] = None

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest."""
        return GenerationRequest(images=pictures_of(self.image_url, "image_url"), **self.meant())


def choice(index: int, url: str) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": url}, "index": 0}
    return {
        "logprobs": None,
        "finish_reason": "stop",
        "native_finish_reason": "stop",
        "index": index,
        "message": {"role": "assistant", "content": None, "images": [image]},
    }


KEY = {
    "name": "LB-LLM-Key",
    "in": "header",
    "required": False,
    "description": "Your own key at the provider that `model` names: it pays there. Empty: the wallet pays.",
    "schema": {"type": "string", "maxLength": 512},
}
BODY = described(
    ImageBody,
    said={
        "prompt": "A futuristic cityscape with flying cars and neon lights",
        "model": "openai:gpt-image-1",
        "size": "1024x1024",
    },
    told={
        "id": "gen_01a2003f2944",
        "provider": "openai",
        "model": "gpt-image-1",
        "object": "chat.completion",
        "created": 1_795_300_566,
        "choices": [choice(0, "https://images.example/media/1795304166/Rk5b/gen.png")],
    },
    parameters=[KEY],
)


@router.post(PATH, openapi_extra=BODY, summary="Make images, as Langbase does")
async def create(request: Request) -> Response:
    """Make images. The wallet is debited only for the images in the reply."""
    services = services_of(request)
    principal = await authenticate(request)
    wanted = await read_json(request, services, read_body)
    if is_dry(request):
        return await estimate_reply(request, services, principal, wanted)
    telling = partial(tell, request, services)
    return await answered(request, services, principal, wanted, "langbase/images", telling)


async def tell(request: Request, services: Services, generation: Generation) -> Response:
    told = completion(generation, mint_links(request, generation))
    told["metadata"] = metadata(generation, services.settings)
    return Response(to_json(told), media_type="application/json", headers=headers_for(generation))


def read_body(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault."""
    return checked(ImageBody, values).to_request()


def completion(generation: Generation, urls: Sequence[str]) -> dict[str, Any]:
    """One choice an image. `model`: what was asked for, without its creator or provider."""
    served = serving_attempt(generation)
    return {
        "id": generation.public_id,
        "provider": served.provider if served else "",
        "model": generation.model.partition("/")[2],
        "object": "chat.completion",
        "created": int(generation.created_at.timestamp()),
        "choices": [choice(index, url) for index, url in enumerate(urls)],
        "usage": usage_of(generation.usage or {}),
    }


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The provider's own counts, by all names that the client has; 0 is what the provider does not count."""
    prompt, completed = count(usage, "input_tokens"), count(usage, "output_tokens")
    before, after = (part(usage, f"{side}_tokens_details") for side in ("input", "output"))
    reasoned = count(after, "reasoning_tokens")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completed,
        "total_tokens": count(usage, "total_tokens") or prompt + completed,
        "prompt_tokens_details": {"cached_tokens": count(before, "cached_tokens")},
        "completion_tokens_details": {
            "reasoning_tokens": reasoned,
            "image_tokens": count(after, "image_tokens") or max(completed - reasoned, 0),
        },
    }


def part(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = usage.get(name)
    return found if isinstance(found, Mapping) else {}


def count(usage: Mapping[str, Any], name: str) -> int:
    found = usage.get(name)
    return found if type(found) is int and found > 0 else 0


def render(error: ImagegateError, request_id: str) -> tuple[int, dict[str, object]]:
    """OpenAI's error object, and in it the status, which the client takes from there."""
    status, body = openai_error(error, request_id)
    told = body["error"]
    assert isinstance(told, dict)
    return status, {"error": told | {"status": status}}


FACES = (Face(PATH, render, alone=True),)
