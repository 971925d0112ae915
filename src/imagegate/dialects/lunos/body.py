"""The bodies of Lunos's routes that make images, checked strictly, and what they mean on the line."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagegate.domain import GenerationRequest
from imagegate.errors import InvalidRequest
from imagegate.web.bodies import PIXELS, Edge, extras_of, pixels_of
from imagegate.web.faults import first_fault
from imagegate.web.pictures import MASK, PICTURES, pictures_of

LINKS = "url"
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Said:
    """A body: what is wanted, and for which app; None = it names none."""

    wanted: GenerationRequest
    app: str | None = None


class ImageBody(BaseModel):
    """What all three routes take. Fields that are not listed go to the provider where it takes them."""

    model_config = ConfigDict(strict=True, extra="allow")

    image: Annotated[Any, PICTURES] = None
    model: Annotated[
        str | None, Field(max_length=200, description="As `openai/dall-e-3`; absent: the gateway chooses.")
    ] = None
    n: Annotated[int | None, Field(ge=1, le=10, description="How many images.")] = None
    size: Annotated[str | None, Field(pattern=rf"^(auto|{PIXELS})$", description="As `1024x1024`.")] = None
    width: Edge | None = None
    height: Edge | None = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    style: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    seed: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None
    user: Annotated[str | None, Field(max_length=512, description="Your end user.")] = None
    strict: Annotated[
        bool | None, Field(description="true: a parameter that would be dropped is an error.")
    ] = None
    app: Annotated[
        str | None, Field(alias="appId", description="The app that asks; goes before `X-App-ID`.")
    ] = None

    def to_request(self, prompt: str) -> GenerationRequest:
        """Raises InvalidRequest."""
        return GenerationRequest(
            prompt=prompt,
            model=self.model or None,
            n=self.n or 1,
            size=pixels_of(self.size, self.width, self.height),
            quality=self.quality,
            response_format=self.response_format or LINKS,
            style=self.style,
            seed=self.seed,
            user=self.user,
            images=pictures_of(self.image, "image"),
            strict=bool(self.strict),
            extras=extras_of(self),
        )


class VariationBody(ImageBody):
    """What to vary."""

    model_config = ConfigDict(title="LunosVariationRequest")

    prompt: Annotated[
        str | None, Field(max_length=100_000, description="Absent: a neutral one of the gateway's.")
    ] = None


class GenerationBody(ImageBody):
    """What to draw; from which picture, if there is one."""

    model_config = ConfigDict(title="LunosImageRequest")

    prompt: Annotated[str, Field(min_length=1, max_length=100_000, description="What to draw.")]


class EditBody(GenerationBody):
    """What to make of which picture."""

    model_config = ConfigDict(title="LunosEditRequest")

    mask: Annotated[Any, MASK] = None


def read_generation(values: dict[str, Any]) -> Said:
    """Raises InvalidRequest naming the first field at fault, as the other readers do."""
    body = checked(GenerationBody.model_validate, values)
    return Said(body.to_request(body.prompt), body.app)


def read_edit(values: dict[str, Any]) -> Said:
    body = checked(EditBody.model_validate, values)
    masks = pictures_of(body.mask, "mask")
    if len(masks) > 1:
        raise InvalidRequest("An edit takes one mask.", param="mask")
    wanted = with_image(body.to_request(body.prompt))
    return Said(replace(wanted, mask=masks[0] if masks else None), body.app)


def read_variation(values: dict[str, Any]) -> Said:
    """Without a prompt it is empty, and still to be put in."""
    body = checked(VariationBody.model_validate, values)
    return Said(with_image(body.to_request(body.prompt or "")), body.app)


def with_image(wanted: GenerationRequest) -> GenerationRequest:
    if not wanted.images:
        text = "image is required: a URL, a data URL or base64."
        raise InvalidRequest(text, code="missing_required_parameter", param="image")
    return wanted


def checked(validate: Callable[[dict[str, Any]], Body], values: dict[str, Any]) -> Body:
    try:
        return validate(values)
    except ValidationError as error:
        raise first_fault(error) from None
