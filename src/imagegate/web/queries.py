"""Parameters of a query: how they are described, and read."""

from typing import Any

from starlette.requests import Request

from imagegate.errors import InvalidRequest
from imagegate.generation import listing

LONGEST = 200
"""Characters of a value."""


def parameter(name: str, about: str, schema: dict[str, Any]) -> dict[str, Any]:
    """As OpenAPI describes it."""
    return {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


LIMIT = parameter(
    "limit",
    "How many at most.",
    {"type": "integer", "minimum": 1, "maximum": listing.MOST, "default": listing.USUAL},
)


def read_limit(request: Request) -> int:
    """How many elements of a list. Raises InvalidRequest."""
    text = request.query_params.get("limit")
    if text is None:
        return listing.USUAL
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= listing.MOST):
        raise InvalidRequest(f"limit is a whole number from 1 to {listing.MOST}.", param="limit")
    return int(text)


def said(request: Request, name: str) -> str | None:
    """A query parameter. Raises InvalidRequest when it stands twice, is empty, too long or cannot be kept."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise InvalidRequest(f"{name} stands twice in the query.", param=name)
    if values and not (1 <= len(values[0]) <= LONGEST and "\0" not in values[0]):
        raise InvalidRequest(f"{name} has 1 to {LONGEST} characters.", param=name)
    return values[0] if values else None
