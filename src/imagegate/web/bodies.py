"""What the bodies of all dialects share: sizes in pixels, and fields that a dialect does not know."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from imagegate.domain import Size
from imagegate.errors import InvalidRequest

PIXELS = r"[1-9]\d{0,4}x[1-9]\d{0,4}"
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
