"""Refusals on the doorstep: a process that sheds answers requests for images before they are requests.

It is the answer that the line would give, at a fraction of its cost: at several times of what a process can do,
refusals are the most of what it does.
"""

from collections.abc import Collection

from pydantic_core import to_json

from imagegate.errors import ImagegateError, Overloaded
from imagegate.errors.catalogue import link_of
from imagegate.load import SMALL_BYTES, Load
from imagegate.telemetry import Telemetry
from imagegate.web.process import openai_error, request_id_of

Headers = Collection[tuple[bytes, bytes]]

OTHERWISE = (b"transfer-encoding", b"expect", b"upgrade")
"""Who sends one of these is refused by the line: what its connection carries next is not known here."""


class Doorstep:
    """routes: method and path of those that are answered here, in OpenAI's shape."""

    def __init__(self, load: Load, routes: Collection[tuple[str, str]], telemetry: Telemetry) -> None:
        self._load = load
        self._routes = {(method.encode(), path.encode()): (method, path) for method, path in routes}
        self._telemetry = telemetry

    def refusal(self, method: bytes, url: bytes, headers: Headers) -> bytes | None:
        """The answer, without its first line, which is that of a 503. None: the request goes its usual way.

        headers: names in small letters.
        """
        if not self._load.shedding:
            return None
        route = self._routes.get((method, url.partition(b"?")[0]))
        if route is None or not is_short(headers):
            return None
        try:
            self._load.check_late()
        except Overloaded as error:
            self._telemetry.count_request(*route, error.status)
            return answer(error, request_id_of({"headers": headers}))
        return None


def is_short(headers: Headers) -> bool:
    """Whether a body of known and small length follows: it is read past, and the connection kept."""
    said = dict(headers)
    length = said.get(b"content-length", b"0")
    return not any(name in said for name in OTHERWISE) and length.isdigit() and int(length) <= SMALL_BYTES


def answer(error: ImagegateError, request_id: str) -> bytes:
    """Headers and body, as `error_response` and the layer around every route make them; the first line is not there."""
    _, told = openai_error(error, request_id)
    body = to_json(told)
    waits = () if error.retry_after_s is None else (f"retry-after: {error.retry_after_s}",)
    lines = (
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-should-retry: {'true' if error.should_retry else 'false'}",
        f"link: {link_of(error.code)}",
        *waits,
        f"x-request-id: {request_id}",
        "openai-processing-ms: 0",
        "x-content-type-options: nosniff",
        "cache-control: private, no-store",
        "",
        "",
    )
    return "\r\n".join(lines).encode("latin-1") + body
