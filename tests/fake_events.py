"""What the fake provider streams: OpenAI's events, whole, in pieces, late, cut off, or with an error among them."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fake_verbs import Exchange, picture_b64

HEAD = (
    b"HTTP/1.1 200 Scripted\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_fake\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
PREVIEW_TOKENS = 100


def kind_of(path: str) -> str:
    return "image_edit" if path.endswith("/edits") else "image_generation"


def event_bytes(data: Any, name: str | None = None, end: str = "\n") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return f"event: {name or data['type']}{end}data: {text}{end}{end}".encode()


def fields_of(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "created_at": 1764000000,
        "size": request.get("size", "auto"),
        "quality": request.get("quality", "high"),
        "background": "opaque",
        "output_format": request.get("output_format", "png"),
    }


def partial_event(request: dict[str, Any], kind: str, index: int) -> dict[str, Any]:
    """A preview: another picture than the image, and another one for every index."""
    b64 = picture_b64(f"{64 + index}x64", "png")
    beside = {"partial_image_index": index, **fields_of(request)}
    return {"type": f"{kind}.partial_image", "b64_json": b64, **beside}


def completed_event(request: dict[str, Any], kind: str, previews: int) -> dict[str, Any]:
    output = 1756 + PREVIEW_TOKENS * previews
    usage = {"input_tokens": 12, "output_tokens": output, "total_tokens": 12 + output}
    b64 = picture_b64(request.get("size", "auto"), request.get("output_format", "png"))
    return {"type": f"{kind}.completed", "b64_json": b64, "usage": usage, **fields_of(request)}


@dataclass(frozen=True)
class Events:
    """An image as events.

    previews: another number of them than was asked for. step: bytes a write, 0 for one write an event. end: of lines.
    every_s: between writes. gate: waited for after the previews. last: bytes instead of the completed event. cut: the
    connection breaks off after that instead of ending.
    """

    previews: int | None = None
    step: int = 0
    end: str = "\n"
    every_s: float = 0.0
    gate: asyncio.Event | None = None
    last: bytes | None = None
    cut: bool = False

    async def play(self, exchange: Exchange) -> None:
        request, kind = exchange.request.body, kind_of(exchange.request.path)
        asked = int(request.get("partial_images", 0))
        shown = asked if self.previews is None else self.previews
        await exchange.write(HEAD)
        for index in range(shown):
            await self._write(exchange, event_bytes(partial_event(request, kind, index), end=self.end))
        if self.gate is not None:
            await self.gate.wait()
        done = event_bytes(completed_event(request, kind, shown), end=self.end)
        await self._write(exchange, done if self.last is None else self.last)
        if self.cut:
            exchange.writer.close()
        else:
            await exchange.write(b"0\r\n\r\n")

    async def _write(self, exchange: Exchange, content: bytes) -> None:
        for piece in pieces(content, self.step):
            await exchange.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if self.every_s:
                await asyncio.sleep(self.every_s)


def pieces(content: bytes, step: int) -> Iterator[bytes]:
    step = step or max(len(content), 1)
    return (content[start : start + step] for start in range(0, len(content), step))


def error_event(code: str | None, type: str = "server_error", **more: Any) -> bytes:
    error = {"message": "scripted", "type": type, "param": None, "code": code, **more}
    return event_bytes({"type": "error", "error": error})
