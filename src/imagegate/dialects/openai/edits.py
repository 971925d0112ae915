"""`POST /v1/images/edits`: pictures, a mask and a prompt, as a form or as JSON; answered as generations are."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from imagegate.dialects.openai.answering import answer
from imagegate.dialects.openai.body import GenerationBody
from imagegate.dialects.openai.described import making
from imagegate.domain import GenerationRequest, InputImage
from imagegate.errors import InvalidRequest
from imagegate.generation.inputs import MOST_IMAGES, read_image_text
from imagegate.media.formats import NotAnImage, sniff
from imagegate.media.images import MAX_BYTES
from imagegate.web.dependencies import authenticate, services_of
from imagegate.web.drawing import Read, read_json
from imagegate.web.faults import checked
from imagegate.web.guards import turn
from imagegate.web.pictures import MASK, PICTURES, pictures_of
from imagegate.web.uploads import Form, Limits, Upload, is_form, read_form

router = APIRouter(tags=["images"])

FILES = Limits({"image": MOST_IMAGES, "mask": 1}, MAX_BYTES)


class EditBody(GenerationBody):
    """What to make of which pictures. All fields of a generation are taken as well."""

    model_config = ConfigDict(title="ImageEditRequest")

    image: Annotated[Any, PICTURES] = None
    images: Annotated[Any, PICTURES] = None
    mask: Annotated[Any, MASK] = None

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest."""
        request = super().to_request()
        images = pictures_of(self.image, "image") + pictures_of(self.images, "images") + request.images
        masks = pictures_of(self.mask, "mask")
        if len(masks) > 1:
            raise InvalidRequest("An edit takes one mask.", param="mask")
        return replace(request, images=images, mask=masks[0] if masks else None)


PROPERTIES: Mapping[str, Any] = EditBody.model_json_schema()["properties"]
FILE = {"type": "string", "format": "binary"}


def form_schema(properties: Mapping[str, Any], pictures: Mapping[str, Any], *required: str) -> dict[str, Any]:
    """As JSON, but for the pictures, which are files. required: what must be said beside the image."""
    fields = {k: v for k, v in properties.items() if k not in ("images", "input_references", "mask")}
    return {"type": "object", "properties": {**fields, **pictures}, "required": [*required, "image"]}


FORM = form_schema(
    PROPERTIES,
    {
        "image": {
            "type": "array",
            "items": FILE,
            "maxItems": MOST_IMAGES,
            "description": "PNG, JPEG, WebP, GIF or AVIF; also as `image[]`.",
        },
        "mask": {**FILE, "description": "A PNG, transparent where the first image is to be redrawn."},
    },
    "prompt",
)
SAID = {"model": "sandbox", "prompt": "The robot with a hat", "image": "https://images.example/robot.png"}
BODY = making(EditBody, SAID, FORM)


@router.post("/v1/images/edits", openapi_extra=BODY, summary="Edit images")
async def edit(request: Request) -> Response:
    """Make images from images. The wallet is debited only for the images in the reply."""
    return await answer_pictured(request, edit_of_form, read_edit, "images/edits")


async def answer_pictured(
    request: Request,
    of_form: Callable[[Form], GenerationRequest],
    read: Read[GenerationRequest],
    route: str,
) -> Response:
    """Read a form or JSON, and answer as generations are answered."""
    services = services_of(request)
    principal = await authenticate(request)
    if is_form(request):
        await turn(request, services.load)
        wanted = of_form(await read_form(request, services.settings, services.load, FILES))
    else:
        wanted = await read_json(request, services, read)
    return await answer(request, services, principal, wanted, route)


def read_edit(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault."""
    if "image[]" in values:
        values["image"] = values.pop("image[]")
    return with_images(checked(EditBody, values).to_request())


def with_images(request: GenerationRequest) -> GenerationRequest:
    if not request.images:
        text = "An edit needs an image. Send it as a file named image, or in JSON as images: [{image_url}]."
        raise InvalidRequest(text, code="missing_required_parameter", param="image")
    return request


def edit_of_form(form: Form) -> GenerationRequest:
    """Raises InvalidRequest."""
    request = checked(EditBody, typed(form.fields)).to_request()
    images, masks = pictures(form.files, "image"), pictures(form.files, "mask")
    return with_images(replace(request, images=images + request.images, mask=masks[0] if masks else None))


def pictures(files: Sequence[Upload], name: str) -> tuple[InputImage, ...]:
    data = [file.data for file in files if file.name == name]
    names = [name] if len(data) == 1 else [f"images[{index}]" for index in range(len(data))]
    return tuple(uploaded(content, param) for content, param in zip(data, names, strict=True))


def uploaded(data: bytes, param: str) -> InputImage:
    """The bytes as they are; or the picture that a part means which holds text instead."""
    try:
        sniff(data)
    except NotAnImage:
        if data[:64].isascii() and data[:64].decode("ascii").strip().isprintable():
            return read_image_text(data.decode("latin-1"), param)
    return InputImage(data=data)


def kinds_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that a field takes."""
    options = schema.get("anyOf", [schema])
    said = {option["type"] for option in options if "type" in option}
    if any(value is True for option in options for value in option.get("enum", ())):
        said.add("boolean")
    return frozenset(said)


KINDS = {name: kinds_of(schema) for name, schema in PROPERTIES.items()}
UNKNOWN = frozenset({"integer", "number"})
TRUTHS = {"true": True, "1": True, "false": False, "0": False}
WHOLE = re.compile(r"-?\d{1,19}")
BROKEN = re.compile(r"-?\d{1,19}(\.\d{1,19})?([eE][+-]?\d{1,2})?")


def typed(fields: Mapping[str, str]) -> dict[str, Any]:
    """The values that the texts of a form mean. `n=0` is none, as an empty text is."""
    values = {name: value_of(name, text) for name, text in fields.items()}
    if values.get("n") == 0:
        del values["n"]
    return values


def value_of(name: str, text: str) -> Any:
    """A field that is not known is a number or a truth where it looks like one. What cannot be read stays text."""
    kinds, short = KINDS.get(name, UNKNOWN), text.strip().lower()
    if short in TRUTHS and ("boolean" in kinds or (name not in KINDS and short.isalpha())):
        return TRUTHS[short]
    if "integer" in kinds and WHOLE.fullmatch(short):
        return int(short)
    if "number" in kinds and BROKEN.fullmatch(short):
        return float(short)
    return text
