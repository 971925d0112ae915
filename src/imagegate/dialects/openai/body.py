"""A body of `POST /v1/images/generations`, checked strictly, and what it means on the line."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagegate.domain import GenerationRequest, Size
from imagegate.errors import InvalidRequest
from imagegate.web.faults import first_fault

REFUSED = frozenset(
    {
        "api_base",
        "base_url",
        "api_key",
        "headers",
        "webhook",
        "webhook_secret",
        "webhook_events_filter",
        "callback",
    }
)
MOST_EXTRAS = 64


class GenerationBody(BaseModel):
    """What to draw. Fields that are not listed go to the provider where it takes them, else they are reported."""

    model_config = ConfigDict(strict=True, extra="allow", title="ImageGenerationRequest")

    prompt: Annotated[str, Field(min_length=1, max_length=100_000, description="What to draw.")]
    model: Annotated[
        str | None, Field(max_length=200, description="`dall-e-3`, `openai/dall-e-3` or `openai:dall-e-3`.")
    ] = None
    n: Annotated[int | None, Field(ge=1, le=10, description="How many images.")] = None
    size: Annotated[
        str | None,
        Field(
            pattern=r"^(auto|[1-9]\d{0,4}x[1-9]\d{0,4})$", description="`auto` or width x height in pixels."
        ),
    ] = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    style: Literal["vivid", "natural"] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[
        int | None, Field(ge=0, le=100, description="Quality of jpeg and webp.")
    ] = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = None
    seed: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None
    user: Annotated[
        str | None, Field(max_length=512, description="Your end user; sent upstream only as a hash.")
    ] = None
    stream: bool | None = None
    strict: Annotated[
        bool | None, Field(description="true: a parameter that would be dropped is an error.")
    ] = None

    def to_request(self) -> GenerationRequest:
        """Raises InvalidRequest for fields that are always refused."""
        if self.stream:
            raise InvalidRequest(
                "Streaming is not available yet. Leave 'stream' out.",
                code="unsupported_value",
                param="stream",
            )
        extras = {name: value for name, value in (self.model_extra or {}).items() if value is not None}
        _check_extras(extras)
        return GenerationRequest(
            prompt=self.prompt,
            model=self.model or None,
            n=self.n or 1,
            size=Size.parse(self.size) if self.size else None,
            quality=self.quality,
            style=self.style,
            response_format=self.response_format,
            output_format=self.output_format,
            output_compression=self.output_compression,
            background=self.background,
            moderation=self.moderation,
            seed=self.seed,
            user=self.user,
            strict=bool(self.strict),
            extras=extras,
        )


def _check_extras(extras: dict[str, Any]) -> None:
    if len(extras) > MOST_EXTRAS:
        raise InvalidRequest(
            f"The body has more than {MOST_EXTRAS} unknown fields.", code="unknown_parameter"
        )
    for name in extras:
        if name in REFUSED or name.startswith("extra_"):
            text = (
                f"{name[:64]} is never accepted: where and how providers are called is the operator's to say."
            )
            raise InvalidRequest(text, code="unknown_parameter", param=name[:64])


def read_generation(values: dict[str, Any]) -> GenerationRequest:
    """Raises InvalidRequest naming the first field at fault; its value is not echoed."""
    try:
        return GenerationBody.model_validate(values).to_request()
    except ValidationError as error:
        raise first_fault(error) from None
