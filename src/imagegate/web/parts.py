"""An answer of several parts: long ones go out as they are, and the last only once the others are on their way."""

from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SMALL_BYTES = 64 * 1024


class PartsResponse(Response):
    """JSON. Short answers go out in one piece, since each piece costs a call."""

    media_type = "application/json"

    def __init__(self, parts: Sequence[bytes | memoryview], headers: Mapping[str, str]) -> None:
        length = sum(len(part) for part in parts)
        super().__init__(headers={**headers, "content-length": str(length)})
        self._parts = [b"".join(parts)] if length <= SMALL_BYTES else joined(parts)

    @property
    def parts(self) -> Sequence[bytes | memoryview]:
        """The body."""
        return self._parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        for part in self._parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": self._parts[-1]})


def joined(parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Short neighbours as one part each, long parts as they are."""
    made: list[bytes | memoryview] = []
    short: list[bytes | memoryview] = []
    for part in parts:
        if len(part) <= SMALL_BYTES:
            short.append(part)
            continue
        made += [b"".join(short), part]
        short = []
    return [*made, b"".join(short)]
