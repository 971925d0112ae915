"""A body of `POST /v1/images/generations`, checked strictly, and what it means on the line."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from imagegate.domain import GenerationRequest, InputImage, ParameterReceipt
from imagegate.web.bodies import ImageFields
from imagegate.web.faults import checked
from imagegate.web.pictures import PICTURE, PICTURES, pictures_of


class GenerationBody(ImageFields):
    """What to draw. Fields that are not listed go to the provider where it takes them, else they are reported."""

    model_config = ConfigDict(title="ImageGenerationRequest")

    response_format: Literal["url", "b64_json"] | None = None
    image_url: Annotated[Any, PICTURE] = None
    input_references: Annotated[Any, PICTURES] = None
    stream: Annotated[bool | None, Field(description="true: the answer comes as server-sent events.")] = None
    partial_images: Annotated[
        int | None,
        Field(
            ge=0,
            le=3,
            description="Previews of each image in a stream, where the provider shows any; those that come are paid.",
        ),
    ] = None
    later: Annotated[
        bool | None,
        Field(alias="async", description="true: answered with 202 at once; fetch the images by their id."),
    ] = None
    webhook_url: Annotated[
        str | None, Field(max_length=2048, description="Told how an async job ends: a public https URL.")
    ] = None

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest for fields that are always refused, or that contradict each other."""
        pictures = self.pictures()
        request = GenerationRequest(response_format=self.response_format, images=pictures, **self.meant())
        if self.later or self.webhook_url is not None:
            request = replace(request, later=bool(self.later), webhook_url=self.webhook_url)
        if self.stream or self.partial_images is not None:
            return streamed(request, bool(self.stream), self.partial_images)
        return request

    def pictures(self) -> tuple[InputImage, ...]:
        if self.image_url is None and self.input_references is None:
            return ()
        return pictures_of(self.image_url, "image_url") + pictures_of(
            self.input_references, "input_references"
        )


def streamed(request: GenerationRequest, stream: bool, partial_images: int | None) -> GenerationRequest:
    """With what a stream makes of other parameters: it has base64 alone, and it alone has previews."""
    treated: list[ParameterReceipt] = []
    if partial_images is not None:
        if partial_images and stream:
            request = replace(request, partial_images=partial_images)
        else:
            receipt = ("ignored", "only a stream has previews") if partial_images else ("passed", None)
            treated.append(ParameterReceipt("partial_images", *receipt))
    if stream and request.response_format == "url":
        treated.append(ParameterReceipt("response_format", "ignored", "a stream has base64 only"))
        request = replace(request, response_format=None)
    return replace(request, stream=stream, treated=tuple(treated))


def read_generation(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault; its value is not echoed."""
    return checked(GenerationBody, values).to_request()
