"""luntrex's image API: one route, links and what they cost.

Wire format: https://luntrex.com, its page «Image API», read 2026-11-21. Every error is `{"error", "status"}`, and an
empty wallet is a 403. `balance_left` stands in its other answers; `metadata` and all fields beyond its four are ours.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from imagegate.domain import Generation, GenerationRequest, Principal
from imagegate.errors import ImagegateError, InsufficientFunds
from imagegate.generation.records import receipts_json
from imagegate.ids import image_id
from imagegate.ledger import wallets
from imagegate.services import Services
from imagegate.web.bodies import PIXELS, extras_of, pixels_of
from imagegate.web.dependencies import authenticate, services_of
from imagegate.web.drawing import draw, read_json
from imagegate.web.estimate import PARAMETER, estimate_reply, is_dry
from imagegate.web.faults import first_fault
from imagegate.web.media import mint_links
from imagegate.web.process import Face, openai_error
from imagegate.web.told import headers_for, serving_attempt

router = APIRouter(tags=["luntrex"])

PATHS = ("/v1/images/generate", "/images/generate")
EMPTY = "Insufficient credits"
FORBIDDEN = 403


class ImageBody(BaseModel):
    """What to draw. Fields that are not listed go to the provider where it takes them."""

    model_config = ConfigDict(strict=True, extra="allow", title="LuntrexImageRequest")

    prompt: Annotated[str, Field(min_length=1, max_length=100_000, description="What to draw.")]
    size: Annotated[str | None, Field(pattern=rf"^(auto|{PIXELS})$", description="As `1024x1024`.")] = None
    n: Annotated[int | None, Field(ge=1, le=10, description="How many images.")] = None
    model: Annotated[
        str | None, Field(max_length=200, description="Absent: as the key's routing policy chooses.")
    ] = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    style: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    output_format: Literal["png", "jpeg", "webp", "avif", "gif"] | None = None
    negative_prompt: Annotated[str | None, Field(max_length=100_000, description="What not to draw.")] = None
    seed: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None
    user: Annotated[str | None, Field(max_length=512, description="Your end user.")] = None
    strict: Annotated[
        bool | None, Field(description="true: a parameter that would be dropped is an error.")
    ] = None

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest."""
        return GenerationRequest(
            prompt=self.prompt,
            model=self.model or None,
            n=self.n or 1,
            size=pixels_of(self.size, None, None),
            quality=self.quality,
            style=self.style,
            output_format=self.output_format,
            negative_prompt=self.negative_prompt or None,
            seed=self.seed,
            user=self.user,
            strict=bool(self.strict),
            response_format="url",
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


@router.post(PATHS[1], include_in_schema=False)
@router.post(PATHS[0], openapi_extra=BODY, summary="Make images, as luntrex does")
async def create(request: Request) -> Response:
    """Make images. The wallet is debited only for the images in the reply."""
    services = services_of(request)
    principal = await authenticate(request)
    wanted = await read_json(request, services, read_body)
    if is_dry(request):
        return await estimate_reply(request, services, principal, wanted)
    generation = await draw(request, services, principal, wanted, "luntrex/generate")
    left = generation.balance_tokens
    if left is None:  # the answer of a request that was made before
        left = await balance(services, principal)
    told = told_of(generation, mint_links(request, generation), left)
    return Response(to_json(told), media_type="application/json", headers=headers_for(generation))


def read_body(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault."""
    try:
        return ImageBody.model_validate(values).to_request()
    except ValidationError as error:
        raise first_fault(error) from None


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
