"""Lists, page by page: newest first, by an id that only grows, so that what is added meanwhile moves nothing."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from imagegate.errors import InvalidRequest

Row = TypeVar("Row")


class Query(BaseModel):
    """The query string of a route. Base of those that filter."""

    model_config = ConfigDict(extra="forbid")


class Page(Query):
    """The query string of a list. Base of lists that can be narrowed."""

    limit: Annotated[int, Field(ge=1, le=200, description="Rows of one page.")] = 50
    after: Annotated[str | None, Field(max_length=64, description="`next` of the page before.")] = None

    @property
    def rows(self) -> int:
        """How many to read: one more than are shown tells whether there is a next page."""
        return self.limit + 1


def after_id(page: Page) -> UUID | None:
    """The id of the last row of the page before. Raises InvalidRequest."""
    raw = read_cursor(page, 16)
    return UUID(bytes=raw) if raw else None


def after_number(page: Page) -> int | None:
    """As `after_id`, where rows are counted, not named. Raises InvalidRequest."""
    raw = read_cursor(page, 8)
    return int.from_bytes(raw, signed=True) if raw else None


def read_cursor(page: Page, length: int) -> bytes | None:
    if page.after is None:
        return None
    try:
        raw = base64.b64decode(page.after + "=" * (-len(page.after) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != length:
        raise InvalidRequest("Send as `after` what the page before gave as `next`.", param="after")
    return raw


def listed(
    page: Page,
    rows: Sequence[Row],
    to_json: Callable[[Row], dict[str, Any]],
    key: Callable[[Row], UUID | int],
) -> dict[str, Any]:
    """One page's answer. rows: at most `page.rows`. key: what the next page begins after."""
    shown, more = rows[: page.limit], len(rows) > page.limit
    return {
        "object": "list",
        "data": [to_json(row) for row in shown],
        "has_more": more,
        "next": cursor(key(shown[-1])) if more else None,
    }


def cursor(key: UUID | int) -> str:
    raw = key.bytes if isinstance(key, UUID) else key.to_bytes(8, signed=True)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
