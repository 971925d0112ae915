"""The bodies of Lunos's routes that make images, checked strictly, and what they mean on the line."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from imagegate.domain import GenerationRequest
from imagegate.errors import InvalidRequest
from imagegate.web.bodies import ImageFields
from imagegate.web.faults import checked
from imagegate.web.pictures import MASK, PICTURES, pictures_of

LINKS = "url"


@dataclass(frozen=True, slots=True)
class Said:
    """A body: what is wanted, and for which app; None = it names none."""

    wanted: GenerationRequest
    app: str | None = None


class GenerationBody(ImageFields):
    """What to draw; from which picture, if there is one."""

    model_config = ConfigDict(title="LunosImageRequest")

    image: Annotated[Any, PICTURES] = None
    response_format: Literal["url", "b64_json"] | None = None
    app: Annotated[
        str | None, Field(alias="appId", description="The app that asks; goes before `X-App-ID`.")
    ] = None

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest."""
        images = pictures_of(self.image, "image")
        return GenerationRequest(response_format=self.response_format or LINKS, images=images, **self.meant())


class VariationBody(GenerationBody):
    """What to vary."""

    model_config = ConfigDict(title="LunosVariationRequest")

    prompt: Annotated[
        str, Field(max_length=100_000, description="Absent: a neutral one of the gateway's.")
    ] = ""


class EditBody(GenerationBody):
    """What to make of which picture."""

    model_config = ConfigDict(title="LunosEditRequest")

    mask: Annotated[Any, MASK] = None


def read_generation(values: dict[str, Any]) -> Said:
    """Raises InvalidRequest naming the first field at fault, as the other readers do."""
    body = checked(GenerationBody, values)
    return Said(body.to_request(), body.app)


def read_edit(values: dict[str, Any]) -> Said:
    body = checked(EditBody, values)
    masks = pictures_of(body.mask, "mask")
    if len(masks) > 1:
        raise InvalidRequest("An edit takes one mask.", param="mask")
    wanted = with_image(body.to_request())
    return Said(replace(wanted, mask=masks[0] if masks else None), body.app)


def read_variation(values: dict[str, Any]) -> Said:
    """Without a prompt it is empty, and still to be put in."""
    said = {name: value for name, value in values.items() if name != "prompt" or value is not None}
    body = checked(VariationBody, said)
    return Said(with_image(body.to_request()), body.app)


def with_image(wanted: GenerationRequest) -> GenerationRequest:
    if not wanted.images:
        text = "image is required: a URL, a data URL or base64."
        raise InvalidRequest(text, code="missing_required_parameter", param="image")
    return wanted
