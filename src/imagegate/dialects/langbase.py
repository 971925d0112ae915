"""Langbase's Images API: `POST /v1/images`, answered as a chat completion whose messages hold the images.

Wire format: https://langbase.com/docs/api-reference/images, read 2026-11-21, and its client langbase 1.2.4.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from imagegate.domain import Generation, GenerationRequest
from imagegate.errors import ImagegateError
from imagegate.web.bodies import PIXELS, Edge, extras_of, pixels_of
from imagegate.web.dependencies import authenticate, services_of
from imagegate.web.drawing import draw, read_json
from imagegate.web.estimate import PARAMETER, estimate_reply, is_dry
from imagegate.web.faults import first_fault
from imagegate.web.media import mint_links
from imagegate.web.pictures import PICTURE, pictures_of
from imagegate.web.process import Face, openai_error
from imagegate.web.told import headers_for, metadata, serving_attempt

router = APIRouter(tags=["langbase"])

PATH = "/v1/images"


class ImageBody(BaseModel):
    """What to draw. Fields that are not listed go to the provider where it takes them."""

    model_config = ConfigDict(strict=True, extra="allow", title="LangbaseImageRequest")

    prompt: Annotated[str, Field(min_length=1, max_length=100_000, description="What to draw.")]
    model: Annotated[
        str, Field(min_length=1, max_length=200, description="`provider:model-name`: that provider is asked.")
    ]
    width: Edge | None = None
    height: Edge | None = None
    size: Annotated[str | None, Field(pattern=rf"^(auto|{PIXELS})$", description="As `1024x768`.")] = None
    n: Annotated[int | None, Field(ge=1, le=10, description="How many images.")] = None
    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    image_url: Annotated[Any, PICTURE] = None
    negative_prompt: Annotated[str | None, Field(max_length=100_000, description="What not to draw.")] = None

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest."""
        return GenerationRequest(
            prompt=self.prompt,
            model=self.model,
            n=self.n or 1,
            size=pixels_of(self.size, self.width, self.height),
            steps=self.steps,
            negative_prompt=self.negative_prompt or None,
            images=pictures_of(self.image_url, "image_url"),
            extras=extras_of(self),
        )


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": ImageBody.model_json_schema()}},
    },
    "parameters": [PARAMETER],
    "security": [{"bearer": []}],
}


@router.post(PATH, openapi_extra=BODY, summary="Make images, as Langbase does")
async def create(request: Request) -> Response:
    """Make images. The wallet is debited only for the images in the reply."""
    services = services_of(request)
    principal = await authenticate(request)
    wanted = await read_json(request, services, read_body)
    if is_dry(request):
        return await estimate_reply(request, services, principal, wanted)
    generation = await draw(request, services, principal, wanted, "langbase/images")
    told = completion(generation, mint_links(request, generation))
    told["metadata"] = metadata(generation, services.settings)
    return Response(to_json(told), media_type="application/json", headers=headers_for(generation))


def read_body(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault."""
    try:
        return ImageBody.model_validate(values).to_request()
    except ValidationError as error:
        raise first_fault(error) from None


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


def choice(index: int, url: str) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": url}, "index": 0}
    return {
        "logprobs": None,
        "finish_reason": "stop",
        "native_finish_reason": "stop",
        "index": index,
        "message": {"role": "assistant", "content": None, "images": [image]},
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
