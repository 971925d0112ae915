"""A body of `POST /v1/images/generations`, checked strictly, and what it means on the line."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagegate.domain import GenerationRequest, InputImage, ParameterReceipt
from imagegate.errors import InvalidRequest
from imagegate.settings import RoutingPolicy
from imagegate.web.bodies import PIXELS, Edge, extras_of, pixels_of
from imagegate.web.faults import first_fault
from imagegate.web.pictures import PICTURE, PICTURES, pictures_of

THINKING = ("thinking", "thinking_level", "reasoning_effort")
AS_SAID = (
    "prompt",
    "size_policy",
    "quality",
    "style",
    "response_format",
    "output_format",
    "output_compression",
    "background",
    "moderation",
    "seed",
    "steps",
    "guidance",
    "routing",
    "user",
)
"""Fields that mean on the line what they say."""
RATIO = r"[1-9]\d{0,3}(\.\d{1,2})?:[1-9]\d{0,3}(\.\d{1,2})?"
Word = Annotated[str, Field(min_length=1, max_length=100)]


class GenerationBody(BaseModel):
    """What to draw. Fields that are not listed go to the provider where it takes them, else they are reported."""

    model_config = ConfigDict(strict=True, extra="allow", title="ImageGenerationRequest")

    prompt: Annotated[str, Field(min_length=1, max_length=100_000, description="What to draw.")]
    model: Annotated[
        str | None,
        Field(
            max_length=200,
            description="`dall-e-3`, `openai/dall-e-3`, `openai:dall-e-3`, or `auto:cheapest` and the like.",
        ),
    ] = None
    n: Annotated[int | None, Field(ge=1, le=10, description="How many images.")] = None
    size: Annotated[
        str | None,
        Field(
            pattern=rf"^(auto|{PIXELS}|{RATIO})$",
            description="`auto`, width x height in pixels (`1024x768`), or a ratio (`16:9`).",
        ),
    ] = None
    width: Edge | None = None
    height: Edge | None = None
    aspect_ratio: Annotated[
        str | None, Field(pattern=rf"^(auto|{RATIO})$", description="`16:9`; where `size` is not said.")
    ] = None
    resolution: Annotated[
        str | None,
        Field(pattern=r"^(0\.5|1|1\.5|2|3|4)[kK]$", description="With or without a ratio: `1K` to `4K`."),
    ] = None
    size_policy: Annotated[
        Literal["exact", "native"] | None,
        Field(
            description="exact (usual for pixels): what comes out has that size. native: as the model draws."
        ),
    ] = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    style: Annotated[Word | None, Field(description="A style that the model knows.")] = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp", "avif", "gif"] | None = None
    output_compression: Annotated[
        int | None, Field(ge=0, le=100, description="Quality of jpeg, webp and avif.")
    ] = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = None
    seed: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None
    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    guidance: Annotated[float | None, Field(ge=0, le=1000, allow_inf_nan=False)] = None
    negative_prompt: Annotated[str | None, Field(max_length=100_000, description="What not to draw.")] = None
    thinking: Annotated[
        Word | None, Field(description="off, on, minimal, low, medium, high; what a model lacks is an error.")
    ] = None
    thinking_level: Annotated[Word | None, Field(description="Another name of `thinking`.")] = None
    reasoning_effort: Annotated[Word | None, Field(description="Another name of `thinking`.")] = None
    prompt_enhancement: Annotated[
        Literal["on", "off", True, False] | None,
        Field(description="Whether the model may rewrite the prompt."),
    ] = None
    routing: Annotated[
        RoutingPolicy | None,
        Field(
            description="In which order the model's providers are asked; without `model`, also which model draws."
        ),
    ] = None
    image_url: Annotated[Any, PICTURE] = None
    input_references: Annotated[Any, PICTURES] = None
    user: Annotated[
        str | None, Field(max_length=512, description="Your end user; sent upstream only as a hash.")
    ] = None
    stream: Annotated[bool | None, Field(description="true: the answer comes as server-sent events.")] = None
    partial_images: Annotated[
        int | None, Field(ge=0, le=3, description="Previews in a stream; none are passed on yet.")
    ] = None
    strict: Annotated[
        bool | None, Field(description="true: a parameter that would be dropped is an error.")
    ] = None

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest for fields that are always refused, or that contradict each other."""
        ratio = self.size if self.size and ":" in self.size else self.aspect_ratio
        enhanced = self.prompt_enhancement
        said = self.__dict__  # read often: a look-up by name costs a tenth of an attribute's
        request = GenerationRequest(
            model=self.model or None,
            n=self.n or 1,
            size=pixels_of(self.size, self.width, self.height),
            aspect=None if ratio == "auto" else ratio,
            resolution=self.resolution.upper() if self.resolution else None,
            negative_prompt=self.negative_prompt or None,
            thinking=self.thinking_word(),
            prompt_enhancement=None if enhanced is None else enhanced in ("on", True),
            images=self.pictures(),
            strict=bool(self.strict),
            extras=extras_of(self),
            **{name: said[name] for name in AS_SAID},
        )
        if self.stream or self.partial_images is not None:
            return streamed(request, bool(self.stream), self.partial_images)
        return request

    def pictures(self) -> tuple[InputImage, ...]:
        if self.image_url is None and self.input_references is None:
            return ()
        return pictures_of(self.image_url, "image_url") + pictures_of(
            self.input_references, "input_references"
        )

    def thinking_word(self) -> str | None:
        if self.thinking is None and self.thinking_level is None and self.reasoning_effort is None:
            return None
        said = {name: value for name in THINKING if (value := getattr(self, name)) is not None}
        if len({value.lower() for value in said.values()}) > 1:
            text = f"{' and '.join(said)} are one parameter, and say different things."
            raise InvalidRequest(text, code="invalid_value", param=list(said)[-1])
        return next((value.lower() for value in said.values()), None)


def streamed(request: GenerationRequest, stream: bool, partial_images: int | None) -> GenerationRequest:
    """With what a stream makes of other parameters: it has base64 alone, and no previews yet."""
    treated: list[ParameterReceipt] = []
    if partial_images is not None:
        why = "this gateway does not pass previews on yet" if stream else "only a stream has previews"
        receipt = ("ignored", why) if partial_images else ("passed", None)
        treated.append(ParameterReceipt("partial_images", *receipt))
    if stream and request.response_format == "url":
        treated.append(ParameterReceipt("response_format", "ignored", "a stream has base64 only"))
        request = replace(request, response_format=None)
    return replace(request, stream=stream, treated=tuple(treated))


def read_generation(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault; its value is not echoed."""
    try:
        return GenerationBody.model_validate(values).to_request()
    except ValidationError as error:
        raise first_fault(error) from None
