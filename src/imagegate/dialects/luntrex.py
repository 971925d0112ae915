"""luntrex's image API: one route, links and what they cost.

Wire format: https://luntrex.com, its page «Image API», read 2026-11-21. Every error is `{"error", "status"}`, and an
empty wallet is a 403. `balance_left` stands in its other answers; `metadata` and all fields beyond its four are ours.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from imagegate.domain import Generation, GenerationRequest, Principal
from imagegate.errors import ImagegateError, InsufficientFunds
from imagegate.generation.records import receipts_json
from imagegate.ids import image_id
from imagegate.ledger import wallets
from imagegate.services import Services
from imagegate.web.bodies import ImageFields
from imagegate.web.dependencies import authenticate, services_of
from imagegate.web.drawing import read_json
from imagegate.web.estimate import estimate_reply, is_dry
from imagegate.web.faults import checked
from imagegate.web.keepalive import answered
from imagegate.web.media import mint_links
from imagegate.web.openapi import described
from imagegate.web.process import Face, openai_error
from imagegate.web.told import headers_for, serving_attempt

router = APIRouter(tags=["luntrex"])

PATHS = ("/v1/images/generate", "/images/generate")
EMPTY = "Insufficient credits"
FORBIDDEN = 403


class ImageBody(ImageFields):
    """What to draw. luntrex knows `prompt`, `size`, `n` and `model`; without one the key's routing policy chooses."""

    model_config = ConfigDict(title="LuntrexImageRequest")

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest."""
        return GenerationRequest(response_format="url", **self.meant())


ERROR = {
    "type": "object",
    "required": ["error", "status"],
    "properties": {"error": {"type": "string"}, "status": {"type": "integer"}},
}
BODY = described(
    ImageBody,
    said={
        "prompt": "Landscape with mountains and rivers",
        "size": "512x512",
        "n": 1,
        "model": "openai/dall-e-2",
    },
    told={
        "images": ["https://images.example/media/1795304166/Rk5b/gen.png"],
        "usage": {"cost_tokens": 15_000, "n": 1, "size": "512x512"},
        "balance_left": 99_985_000,
    },
    error=ERROR,
    empty=FORBIDDEN,
)


@router.post(PATHS[1], include_in_schema=False)
@router.post(PATHS[0], openapi_extra=BODY, summary="Make images, as luntrex does")
async def create(request: Request) -> Response:
    """Make images. The wallet is debited only for the images in the reply."""
    services = services_of(request)
    principal = await authenticate(request)
    wanted = await read_json(request, services, read_body)
    if is_dry(request):
        return await estimate_reply(request, services, principal, wanted)
    telling = partial(tell, request, services, principal)
    return await answered(request, services, principal, wanted, "luntrex/generate", telling)


async def tell(
    request: Request, services: Services, principal: Principal, generation: Generation
) -> Response:
    left = generation.balance_tokens
    if left is None:  # the answer of a request that was made before
        left = await balance(services, principal)
    told = told_of(generation, mint_links(request, generation), left)
    return Response(to_json(told), media_type="application/json", headers=headers_for(generation))


def read_body(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault."""
    return checked(ImageBody, values).to_request()


async def balance(services: Services, principal: Principal) -> int:
    """Tokens that are neither spent nor held."""
    async with services.engine.connect() as connection:
        return (await wallets.get_wallet(connection, principal.account_id, principal.env)).available_tokens


def told_of(generation: Generation, urls: Sequence[str], balance_tokens: int) -> dict[str, Any]:
    """`size`: measured from the first image's bytes."""
    served = serving_attempt(generation)
    return {
        "images": list(urls),
        "usage": {
            "cost_tokens": generation.charged_tokens,
            "n": len(generation.images),
            "size": str(generation.images[0].size),
        },
        "balance_left": balance_tokens,
        "metadata": {
            "id": generation.public_id,
            "model": generation.model,
            "provider": served.provider if served else None,
            "image_ids": [image_id(generation.id, index) for index in range(len(generation.images))],
            "parameters": receipts_json(generation.receipts),
        },
    }


def render(error: ImagegateError, request_id: str) -> tuple[int, dict[str, object]]:
    """The status stands in the body as well. An empty wallet is told in the page's own words, with its status."""
    if error.code == InsufficientFunds.code:
        return FORBIDDEN, {"error": EMPTY, "status": FORBIDDEN}
    status, body = openai_error(error, request_id)
    told = body["error"]
    assert isinstance(told, dict)
    return status, {"error": told["message"], "status": status}


FACES = tuple(Face(path, render) for path in PATHS)
