"""What the bodies of all dialects share: the fields that every one takes, and those that none knows."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imagegate.domain import Size
from imagegate.errors import InvalidRequest
from imagegate.settings import RoutingPolicy

PIXELS = r"[1-9]\d{0,4}x[1-9]\d{0,4}"
RATIO = r"[1-9]\d{0,3}(\.\d{1,2})?:[1-9]\d{0,3}(\.\d{1,2})?"
Edge = Annotated[int, Field(ge=1, le=99_999, description="In pixels; both or neither.")]
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
THINKING = ("thinking", "thinking_level", "reasoning_effort")
AS_SAID = (
    "prompt",
    "size_policy",
    "quality",
    "style",
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
Word = Annotated[str, Field(min_length=1, max_length=100)]


class ImageFields(BaseModel):
    """What to draw. Fields that are not listed go to the provider where it takes them, else they are reported."""

    model_config = ConfigDict(strict=True, extra="allow")

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
    user: Annotated[
        str | None, Field(max_length=512, description="Your end user; sent upstream only as a hash.")
    ] = None
    strict: Annotated[
        bool | None, Field(description="true: a parameter that would be dropped is an error.")
    ] = None

    def meant(self) -> dict[str, Any]:
        """The fields of a GenerationRequest that these say.

        Raises InvalidRequest for fields that are always refused, or that contradict each other.
        """
        ratio = self.size if self.size and ":" in self.size else self.aspect_ratio
        enhanced = self.prompt_enhancement
        said = self.__dict__  # read often: a look-up by name costs a tenth of an attribute's
        return {
            "model": self.model or None,
            "n": self.n or 1,
            "size": pixels_of(self.size, self.width, self.height),
            "aspect": None if ratio == "auto" else ratio,
            "resolution": self.resolution.upper() if self.resolution else None,
            "negative_prompt": self.negative_prompt or None,
            "thinking": thinking_word(said),
            "prompt_enhancement": None if enhanced is None else enhanced in ("on", True),
            "strict": bool(self.strict),
            "extras": extras_of(self),
            **{name: said[name] for name in AS_SAID},
        }


def thinking_word(fields: Mapping[str, Any]) -> str | None:
    """The one parameter that goes by three names. Raises InvalidRequest when they disagree."""
    if fields["thinking"] is None and fields["thinking_level"] is None and fields["reasoning_effort"] is None:
        return None
    said = {name: value for name in THINKING if (value := fields[name]) is not None}
    if len({value.lower() for value in said.values()}) > 1:
        text = f"{' and '.join(said)} are one parameter, and say different things."
        raise InvalidRequest(text, code="invalid_value", param=list(said)[-1])
    word: str = next(iter(said.values()))
    return word.lower()


def extras_of(body: BaseModel) -> dict[str, Any]:
    """The fields that the body's model does not know. Raises InvalidRequest for those that are always refused."""
    extras = body.__pydantic_extra__
    if not extras:
        return {}
    said = {name: value for name, value in extras.items() if value is not None}
    check_extras(said)
    return said


def check_extras(extras: dict[str, Any]) -> None:
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


def pixels_of(size: str | None, width: int | None, height: int | None) -> Size | None:
    """`size` (pixels, or another word that says none) and edges, as one. Raises InvalidRequest when they disagree."""
    said = Size.parse(size) if size else None
    if width is None and height is None:
        return said
    if width is None or height is None:
        lacking = "width" if width is None else "height"
        raise InvalidRequest("width and height go together.", code="invalid_value", param=lacking)
    edges = Size(width, height)
    if size not in (None, "", "auto") and said != edges:
        raise InvalidRequest(
            "size says another size than width and height.", code="invalid_value", param="size"
        )
    return edges
