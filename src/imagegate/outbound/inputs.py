"""Fetching the pictures that a request names by URL, and what its caller is told when that fails."""

from concurrent.futures import Executor

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from imagegate.errors import Ambiguous, BilledInvalid, InvalidRequest
from imagegate.outbound import guard
from imagegate.outbound.fetching import Room, TooLong, follow

NOT_ALLOWED = (
    "This image URL is not allowed: it does not lead to a public http or https address. "
    "Send one that does, or the image itself as a data URL."
)


async def fetch_input(
    session: aiohttp.ClientSession,
    names: Executor,
    url: str,
    trusted: frozenset[str],
    room: Room,
    param: str,
) -> bytes:
    """The text says nothing of what was found at the address: a caller could look around with it.

    A name that nobody knows is answered like one that leads into a private network, so that nobody learns which names
    that network has. names: threads for name look-ups.
    """
    try:
        return await follow(session, guard.parse(url), trusted, room, "the URL", names)
    except TooLong:
        text = f"The image at {param} is larger than this gateway takes. Send a smaller one."
        raise InvalidRequest(text, code="image_too_large", param=param) from None
    except (guard.Forbidden, guard.Unresolved):
        raise InvalidRequest(NOT_ALLOWED, code="image_url_not_allowed", param=param) from None
    except (Ambiguous, BilledInvalid, aiohttp.ClientError, HttpProcessingError, OSError, ValueError):
        text = f"The image at {param} could not be fetched. Check that its URL is public, or send the image itself."
        raise InvalidRequest(text, code="invalid_image", param=param) from None
