"""`POST /v1/images/variations`: another picture like the one handed in, as a form or as JSON; made by an edit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from imagegate.dialects.openai.described import making
from imagegate.dialects.openai.edits import FILE, EditBody, answer_pictured, form_schema, pictures, typed
from imagegate.domain import GenerationRequest
from imagegate.errors import InvalidRequest
from imagegate.generation.varying import vary
from imagegate.web.dependencies import services_of
from imagegate.web.faults import checked
from imagegate.web.uploads import Form

router = APIRouter(tags=["images"])


class VariationBody(EditBody):
    """Of which picture. All fields of a generation are taken as well."""

    model_config = ConfigDict(title="ImageVariationRequest")

    prompt: Annotated[
        str, Field(max_length=100_000, description="Instead of the gateway's own words for a variation.")
    ] = ""


PROPERTIES: Mapping[str, Any] = VariationBody.model_json_schema()["properties"]
FORM = form_schema(
    {name: said for name, said in PROPERTIES.items() if name != "image_url"},
    {"image": {**FILE, "description": "PNG, JPEG, WebP, GIF or AVIF."}},
)
SAID = {"model": "sandbox", "image": "https://images.example/robot.png"}
BODY = making(VariationBody, SAID, FORM)


@router.post("/v1/images/variations", openapi_extra=BODY, summary="Vary an image")
async def create_variation(request: Request) -> Response:
    """Make images like one that is handed in. The wallet is debited only for the images in the reply."""
    services = services_of(request)

    def of_form(form: Form) -> GenerationRequest:
        return vary(services, variation_of_form(form))

    def read(values: dict[str, Any]) -> GenerationRequest:
        return vary(services, read_variation(values))

    return await answer_pictured(request, of_form, read, "images/variations")


def read_variation(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault."""
    return with_one_image(checked(VariationBody, values).to_request())


def variation_of_form(form: Form) -> GenerationRequest:
    """Raises InvalidRequest."""
    request, files = checked(VariationBody, typed(form.fields)).to_request(), form.files
    masks = pictures(files, "mask")
    images = pictures(files, "image") + request.images
    return with_one_image(replace(request, images=images, mask=masks[0] if masks else request.mask))


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
