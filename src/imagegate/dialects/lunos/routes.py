"""Lunos's routes that make images: read, call the line, write. What tells of the account lies in `account`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from imagegate.dialects.lunos import account
from imagegate.dialects.lunos.body import (
    EditBody,
    GenerationBody,
    Said,
    VariationBody,
    read_edit,
    read_generation,
    read_variation,
)
from imagegate.domain import Generation, Image, Principal
from imagegate.generation.records import receipts_json
from imagegate.generation.varying import vary
from imagegate.ids import image_id
from imagegate.services import Services
from imagegate.settings import Settings
from imagegate.web.apps import for_app
from imagegate.web.dependencies import in_app, key_holder, services_of
from imagegate.web.drawing import Read, read_json
from imagegate.web.estimate import estimate_reply, is_dry
from imagegate.web.keepalive import answered
from imagegate.web.media import mint_links
from imagegate.web.openapi import described
from imagegate.web.parts import PartsResponse
from imagegate.web.told import headers_for, serving_attempt

router = APIRouter(tags=["lunos"])
router.include_router(account.router)

APP: dict[str, Any] = {
    "name": "X-App-ID",
    "in": "header",
    "required": False,
    "description": "The app that asks, for usage by app.",
    "schema": {"type": "string", "maxLength": 200},
}


SAID = {
    "model": "openai/dall-e-3",
    "prompt": "A cute robot playing with a cat",
    "size": "1024x1024",
    "quality": "hd",
}
PICTURED = {"model": "sandbox", "image": "https://images.example/robot.png"}
HATTED = PICTURED | {"prompt": "The robot with a hat"}
TOLD = {
    "created": 1_795_300_566,
    "data": [
        {"url": "https://images.example/media/1795304166/Rk5b/gen.png", "image_id": "gen_01a2003f2944_0"}
    ],
    "model": "openai/dall-e-3",
    "cost": 0.08,
    "size": "1024x1024",
}


def told_of(body: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    return described(body, said=example, told=TOLD, parameters=[APP])


@router.post(
    "/v1/image/generations", openapi_extra=told_of(GenerationBody, SAID), summary="Make images, as Lunos does"
)
async def create(request: Request) -> Response:
    """Make images. The wallet is debited only for the images in the reply."""
    return await answer(request, read_generation, "lunos/generations")


@router.post(
    "/v1/image/edits",
    openapi_extra=told_of(EditBody, HATTED),
    summary="Edit images, as Lunos does",
)
async def edit(request: Request) -> Response:
    """Make images from images. The wallet is debited only for the images in the reply."""
    return await answer(request, read_edit, "lunos/edits")


@router.post(
    "/v1/image/variations",
    openapi_extra=told_of(VariationBody, PICTURED),
    summary="Vary an image, as Lunos does",
)
async def variation(request: Request) -> Response:
    """Edits with a neutral prompt of ours, by the model that is named or by the gateway's model for variations."""
    services = services_of(request)

    def read(values: dict[str, Any]) -> Said:
        said = read_variation(values)
        return Said(vary(services, said.wanted), said.app)

    return await answer(request, read, "lunos/variations")


async def answer(request: Request, read: Read[Said], route: str) -> Response:
    """Make the images and tell of them, or say what they would cost."""
    services = services_of(request)
    holder = await key_holder(request)
    said = await read_json(request, services, read)
    principal = in_app(request, for_app(holder, said.app, "appId"))
    if is_dry(request):
        return await estimate_reply(request, services, principal, said.wanted)
    telling = partial(tell, request, services, principal)
    return await answered(request, services, principal, said.wanted, route, telling)


async def tell(
    request: Request, services: Services, principal: Principal, generation: Generation
) -> Response:
    return reply(generation, mint_links(request, generation), principal, services.settings)


def reply(generation: Generation, urls: Sequence[str], principal: Principal, settings: Settings) -> Response:
    """OpenAI's answer with `model` and `cost`. Megabytes of base64 are joined once, never parsed."""
    as_b64 = generation.request.get("response_format") == "b64_json"
    parts: list[bytes | memoryview] = [b'{"created":%d,"data":[' % int(generation.created_at.timestamp())]
    for index, (image, url) in enumerate(zip(generation.images, urls, strict=True)):
        parts.append(b"," if index else b"")
        parts += item(image, image_id(generation.id, index), None if as_b64 else url)
    parts += [b"],", to_json(told(generation, principal, settings))[1:]]
    return PartsResponse(parts, headers_for(generation))


def item(image: Image, name: str, url: str | None) -> list[bytes | memoryview]:
    """name: by which the image can be an input again."""
    rest = {"image_id": name} | ({"revised_prompt": image.revised_prompt} if image.revised_prompt else {})
    if url is not None:
        return [to_json({"url": url} | rest)]
    b64 = image.b64 if image.b64 is not None else b""
    return [b'{"b64_json":"', b64, b'",', to_json(rest)[1:]]


def told(generation: Generation, principal: Principal, settings: Settings) -> dict[str, Any]:
    """What stands beside `created` and `data`. cost: in units of the currency; `size`: measured."""
    served = serving_attempt(generation)
    counted = generation.usage if generation.usage and "total_tokens" in generation.usage else None
    return {
        "model": generation.model,
        "cost": generation.charged_tokens / settings.tokens_per_currency_unit,
        "size": str(generation.images[0].size),
        **({"usage": counted} if counted else {}),
        "metadata": {
            "id": generation.public_id,
            "app": principal.told_app,
            "provider": served.provider if served else None,
            "charged_tokens": generation.charged_tokens,
            "balance_tokens": generation.balance_tokens,
            "currency": settings.currency,
            "parameters": receipts_json(generation.receipts),
        },
    }
