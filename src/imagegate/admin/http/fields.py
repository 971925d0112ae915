"""Fields that bodies and queries share."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from imagegate.errors import NotFound
from imagegate.identity.operators import SCOPES, Scope
from imagegate.moderation.verdicts import Policy
from imagegate.settings import RoutingPolicy

Env = Literal["live", "test"]
Tokens = Annotated[int, Field(ge=1, le=2**53 - 1, description="Whole tokens.")]
Label = Annotated[str | None, Field(min_length=1, max_length=200)]
Scopes = Annotated[
    list[Scope], Field(min_length=1, max_length=len(SCOPES), description="What the key is good for.")
]

ModerationPolicy = Annotated[
    Policy | None,
    Field(description="`off`: nobody is asked; `flag`: what is found is recorded; `block`: it is refused."),
]
Routing = Annotated[
    RoutingPolicy | None,
    Field(description="Who is asked first, and which model draws where a request names none."),
]

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def a_text(value: Any) -> Any:
    if not isinstance(value, str) or len(value) < len("2027-01-31T00:00Z"):
        raise PydanticCustomError("moment", "a moment is a text in RFC 3339, as 2027-01-31T23:59:59Z")
    return value


def in_range(value: datetime) -> datetime:
    if not EARLIEST <= value <= LATEST:
        raise PydanticCustomError("moment", "a moment lies between the years 1970 and 9000")
    return value


def in_future(value: datetime) -> datetime:
    if value <= datetime.now(UTC):
        raise PydanticCustomError("moment", "this moment has passed already")
    return value


Moment = Annotated[
    AwareDatetime,
    Field(strict=False),
    BeforeValidator(a_text),
    AfterValidator(in_range),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Expiry = Annotated[Moment, AfterValidator(in_future)]


def an_env(text: str) -> Env:
    """The environment that a path names. Raises NotFound."""
    if text == "live":
        return "live"
    if text == "test":
        return "test"
    raise NotFound("A wallet is `live` or `test`.")
