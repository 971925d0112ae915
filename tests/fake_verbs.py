"""What the fake provider can be asked to do with one request. Each verb answers, or fails, in its own way."""

import asyncio
import base64
import io
import json
import socket
import struct
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from functools import lru_cache
from typing import Any, Protocol

from PIL import Image


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """Of a form: its text parts, whole numbers as such."""
        if not self.is_form:
            return json.loads(self.raw)
        texts = {name: data.decode() for name, file, data in self._parts() if file is None}
        return {name: int(text) if text.isdigit() else text for name, text in texts.items()}

    @property
    def is_form(self) -> bool:
        return self.headers.get("content-type", "").startswith("multipart/form-data; boundary=")

    @property
    def files(self) -> list[tuple[str, bytes]]:
        """Of a form: its files in their order, by the names of their parts."""
        return [(name, data) for name, file, data in self._parts() if file is not None]

    def _parts(self) -> list[tuple[str, str | None, bytes]]:
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = BytesParser(policy=HTTP).parsebytes(head + self.raw).iter_parts()
        return [
            (
                str(part.get_param("name", header="content-disposition")),
                part.get_filename(),
                part.get_payload(decode=True),
            )
            for part in parts
        ]


@dataclass(frozen=True)
class Exchange:
    """One request with its connection. A verb answers on `writer`."""

    request: Request
    writer: asyncio.StreamWriter
    origin: str

    async def send(self, status: int, body: Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.write(head(status, len(content), headers) + content)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


class Verb(Protocol):
    async def play(self, exchange: Exchange) -> None: ...


def head(status: int, length: int, headers: dict[str, str]) -> bytes:
    lines = {"content-type": "application/json", "x-request-id": "req_fake", "content-length": str(length)}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Scripted\r\n{text}\r\n".encode()


@lru_cache(maxsize=64)
def picture(size: str, kind: str) -> bytes:
    """A real image. `auto` is drawn at 1024x1024."""
    width, _, height = ("1024x1024" if size == "auto" else size).partition("x")
    out = io.BytesIO()
    Image.new("RGB", (int(width), int(height)), (180, 60, 20)).save(out, kind, quality=80)
    return out.getvalue()


@lru_cache(maxsize=64)
def picture_b64(size: str, kind: str) -> str:
    return base64.b64encode(picture(size, kind)).decode()


def images_body(request: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    """What OpenAI answers: base64, and the tokens it counted."""
    size, kind = request.get("size", "auto"), request.get("output_format", "png")
    n = request.get("n", 1) if count is None else count
    tokens = {"input_tokens": 12, "output_tokens": 1756 * n, "total_tokens": 12 + 1756 * n}
    data = [{"b64_json": picture_b64(size, kind)} for _ in range(n)]
    return {"created": 1764000000, "data": data, "size": size, "output_format": kind, "usage": tokens}


@dataclass(frozen=True)
class Images:
    """Success. `count`: another number of images than was asked for."""

    count: int | None = None

    async def play(self, exchange: Exchange) -> None:
        await exchange.send(200, images_body(exchange.request.body, self.count))


@dataclass(frozen=True)
class Links:
    """Success by links. `url`: another place than this server's own picture."""

    url: str | None = None

    async def play(self, exchange: Exchange) -> None:
        request = exchange.request.body
        size, kind = request.get("size", "1024x1024"), request.get("output_format", "png")
        url = self.url or f"{exchange.origin}/pictures/{size}.{kind}"
        await exchange.send(200, {"created": 1, "data": [{"url": url}] * request.get("n", 1)})


@dataclass(frozen=True)
class Status:
    """`body`: JSON or bytes; None is OpenAI's own error shape."""

    status: int
    body: Any = None
    code: str | None = None
    type: str = "server_error"
    headers: dict[str, str] = field(default_factory=dict)

    async def play(self, exchange: Exchange) -> None:
        error = {"message": "scripted", "type": self.type, "param": None, "code": self.code}
        body = {"error": error} if self.body is None else self.body
        await exchange.send(self.status, body, **self.headers)


@dataclass(frozen=True)
class Refuse:
    stage: str = "input"

    async def play(self, exchange: Exchange) -> None:
        error = {
            "message": "Your request was rejected by the safety system.",
            "type": "image_generation_user_error",
            "param": None,
            "code": "moderation_blocked",
            "moderation_details": {"categories": ["violence"], "moderation_stage": self.stage},
        }
        await exchange.send(400, {"error": error})


def empty() -> Verb:
    """200 without an image."""
    return Status(200, {"created": 1, "data": []})


def garbage() -> Verb:
    """200 that says it is JSON and is not."""
    return Status(200, b"\x00\xff not json {")


def wrong_type() -> Verb:
    """200 with a web page, as a captive portal or a wrong base URL gives it."""
    return Status(200, b"<html>Welcome</html>", headers={"content_type": "text/html"})


@dataclass(frozen=True)
class Truncated:
    """Promises a whole answer, sends half of it and closes."""

    async def play(self, exchange: Exchange) -> None:
        content = json.dumps(images_body(exchange.request.body)).encode()
        await exchange.write(head(200, len(content), {}) + content[: len(content) // 2])
        exchange.writer.close()


@dataclass(frozen=True)
class Promise:
    """Says that so many bytes follow, and sends none."""

    length: int

    async def play(self, exchange: Exchange) -> None:
        await exchange.write(head(200, self.length, {}))
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Drip:
    """The right answer, in `pieces` with `every_s` between them."""

    pieces: int = 20
    every_s: float = 0.05

    async def play(self, exchange: Exchange) -> None:
        content = json.dumps(images_body(exchange.request.body)).encode()
        await exchange.write(head(200, len(content), {}))
        step = -(-len(content) // self.pieces)
        for start in range(0, len(content), step):
            await exchange.write(content[start : start + step])
            await asyncio.sleep(self.every_s)


@dataclass(frozen=True)
class Raw:
    """These bytes instead of an answer, then the end of the connection."""

    data: bytes

    async def play(self, exchange: Exchange) -> None:
        await exchange.write(self.data)
        exchange.writer.close()


@dataclass(frozen=True)
class Hang:
    async def play(self, exchange: Exchange) -> None:
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Delay:
    seconds: float
    then: Verb = field(default_factory=Images)

    async def play(self, exchange: Exchange) -> None:
        await asyncio.sleep(self.seconds)
        await self.then.play(exchange)


@dataclass(frozen=True)
class Wait:
    """Answers once the test sets `gate`."""

    gate: asyncio.Event
    then: Verb = field(default_factory=Images)

    async def play(self, exchange: Exchange) -> None:
        await self.gate.wait()
        await self.then.play(exchange)


@dataclass(frozen=True)
class CloseOnAccept:
    """Closes the next connection unread. An idle connection that is kept must be gone for it to be played."""

    async def play(self, exchange: Exchange) -> None:
        exchange.writer.close()


@dataclass(frozen=True)
class CloseAfterRequest:
    async def play(self, exchange: Exchange) -> None:
        exchange.writer.close()


@dataclass(frozen=True)
class HalfClose:
    """Ends its own direction without an answer, keeps on reading."""

    async def play(self, exchange: Exchange) -> None:
        exchange.writer.write_eof()
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Reset:
    """RST instead of FIN."""

    async def play(self, exchange: Exchange) -> None:
        connection = exchange.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.writer.transport.abort()
