"""Moments as a browser's fields write them."""

from datetime import UTC, datetime

from imagegate.errors import InvalidRequest


def read_moment(text: str | None) -> datetime | None:
    """Of a date-and-time field, in UTC. None: at once. Raises InvalidRequest."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest("Write the moment as 2027-01-31T12:00, in UTC.", param="valid_from") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if at <= datetime.now(UTC):
        raise InvalidRequest("This moment has passed already.", param="valid_from")
    return at
