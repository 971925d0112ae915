"""`POST /v1/images/variations`: another picture like the one handed in, as a form or as JSON; made by an edit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from imagegate.dialects.openai.answering import answer
from imagegate.dialects.openai.edits import FILES, EditBody, pictures, typed
from imagegate.dialects.openai.streaming import RESPONSES
from imagegate.domain import GenerationRequest
from imagegate.errors import InvalidRequest
from imagegate.generation.varying import vary
from imagegate.web.dependencies import authenticate, services_of
from imagegate.web.drawing import read_json
from imagegate.web.estimate import PARAMETER
from imagegate.web.faults import first_fault
from imagegate.web.uploads import Form, is_form, read_form

router = APIRouter(tags=["images"])


class VariationBody(EditBody):
    """Of which picture. All fields of a generation are taken as well."""

    model_config = ConfigDict(title="ImageVariationRequest")

    prompt: Annotated[
        str, Field(max_length=100_000, description="Instead of the gateway's own words for a variation.")
    ] = ""


PROPERTIES: Mapping[str, Any] = VariationBody.model_json_schema()["properties"]
MANY = ("images", "image_url", "input_references", "mask")
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: said for name, said in PROPERTIES.items() if name not in MANY},
        "image": {"type": "string", "format": "binary", "description": "PNG, JPEG, WebP, GIF or AVIF."},
    },
    "required": ["image"],
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": FORM},
            "application/json": {"schema": VariationBody.model_json_schema()},
        },
    },
    "parameters": [PARAMETER],
    "responses": RESPONSES,
    "security": [{"bearer": []}],
}


@router.post("/v1/images/variations", openapi_extra=BODY, summary="Vary an image")
async def create_variation(request: Request) -> Response:
    """Make images like one that is handed in. The wallet is debited only for the images in the reply."""
    services = services_of(request)
    principal = await authenticate(request)
    if is_form(request):
        wanted = variation_of_form(await read_form(request, services.settings, FILES))
    else:
        wanted = await read_json(request, services, read_variation)
    return await answer(request, services, principal, vary(services, wanted), "images/variations")


def read_variation(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault."""
    return with_one_image(validated(values))


def variation_of_form(form: Form) -> GenerationRequest:
    """Raises InvalidRequest."""
    request, files = validated(typed(form.fields)), form.files
    masks = pictures(files, "mask")
    images = pictures(files, "image") + request.images
    return with_one_image(replace(request, images=images, mask=masks[0] if masks else request.mask))


def validated(values: Mapping[str, Any]) -> GenerationRequest:
    try:
        return VariationBody.model_validate(values).to_request()
    except ValidationError as error:
        raise first_fault(error) from None


def with_one_image(request: GenerationRequest) -> GenerationRequest:
    """Raises InvalidRequest."""
    if request.mask is not None:
        text = "A variation takes no mask. Send image and mask to /v1/images/edits."
        raise InvalidRequest(text, code="unsupported_value", param="mask")
    if len(request.images) != 1:
        text = "A variation needs one image, as a file named image. Several go to /v1/images/edits."
        code = "invalid_value" if request.images else "missing_required_parameter"
        raise InvalidRequest(text, code=code, param="image")
    return request
