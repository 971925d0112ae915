"""A loopback upstream that answers in OpenAI's images shape, as fast as one process can.

The prompt chooses the answer, so that any gateway can be put in front of it with one base URL:
`bench:small:0` answers at once with a 4 KB image, `bench:large:50` after 50 ms with a 1.5 MB one. With `"stream": true`
a preview comes after the delay, and the image after twice the delay. `GET /stats` tells what was asked since it was
last read.
"""

import argparse
import asyncio
import base64
import gc
import io
import json
import random
import re
import signal
from typing import cast

import uvloop
from PIL import Image

SIDE_PX = 1024
MAX_DELAY_MS = 60_000
MAX_REQUEST_BYTES = 1 << 20
CHOICE = re.compile(rb"bench:(small|large):(\d{1,5})")
STREAM = re.compile(rb'"stream"\s*:\s*true')
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)


def small_png() -> bytes:
    """About 4 KB: one flat colour with a few thin lines."""
    picture = Image.new("RGB", (SIDE_PX, SIDE_PX), (32, 96, 160))
    for y in range(0, SIDE_PX, 64):
        picture.paste((240, 240, 240), (0, y, SIDE_PX, y + 1))
    return as_png(picture)


def large_png() -> bytes:
    """About 1.5 MB: a little noise in every byte, which deflates to half as photographs do."""
    noise = random.Random(1).randbytes(SIDE_PX * SIDE_PX * 3)
    quiet = bytes(value % 10 for value in range(256))
    return as_png(Image.frombytes("RGB", (SIDE_PX, SIDE_PX), noise.translate(quiet)))


def as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def images_answer(png: bytes) -> bytes:
    body = {
        "created": 1_700_000_000,
        "background": "opaque",
        "data": [{"b64_json": base64.b64encode(png).decode()}],
        "output_format": "png",
        "quality": "low",
        "size": f"{SIDE_PX}x{SIDE_PX}",
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 10},
            "output_tokens": 272,
            "total_tokens": 282,
        },
    }
    return json_answer(body)


def events_answer(png: bytes) -> tuple[bytes, bytes]:
    """The head of a stream with a preview, and its end with the image: closed by its end, not by a length."""
    told = {
        "created_at": 1_700_000_000,
        "size": f"{SIDE_PX}x{SIDE_PX}",
        "quality": "low",
        "background": "opaque",
        "output_format": "png",
        "b64_json": base64.b64encode(png).decode(),
    }
    usage = {"input_tokens": 10, "output_tokens": 372, "total_tokens": 382}

    def event(kind: str, more: dict[str, object]) -> bytes:
        data = json.dumps({"type": f"image_generation.{kind}", **told, **more}, separators=(",", ":"))
        text = f"event: image_generation.{kind}\ndata: {data}\n\n".encode()
        return b"%x\r\n%b\r\n" % (len(text), text)

    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + event("partial_image", {"partial_image_index": 0}), event(
        "completed", {"usage": usage}
    ) + b"0\r\n\r\n"


def json_answer(body: object, status: str = "200 OK") -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Upstream:
    """The pre-built answers and the counters; shared by every connection."""

    def __init__(self) -> None:
        self.events = events_answer(small_png())
        self.images = {b"small": images_answer(small_png()), b"large": images_answer(large_png())}
        models = [{"id": "gpt-image-2.5-flare", "object": "model", "created": 0, "owned_by": "openai"}]
        self.models = json_answer({"object": "list", "data": models})
        error = {"message": "There is no such path.", "type": "invalid_request_error"}
        self.not_found = json_answer({"error": error}, "404 Not Found")
        self.requests = 0
        self.in_flight = 0
        self.in_flight_peak = 0

    def begin(self) -> None:
        self.requests += 1
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)

    def end(self) -> None:
        self.in_flight -= 1

    def read_stats(self) -> bytes:
        stats = {"requests": self.requests, "in_flight_peak": self.in_flight_peak}
        self.requests, self.in_flight_peak = 0, self.in_flight
        return json_answer(stats)


class Connection(asyncio.Protocol):
    """Keep-alive without pipelining: a client that waits for each answer, as every pool does."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head_end = self._buffer.find(b"\r\n\r\n")
        if len(self._buffer) > MAX_REQUEST_BYTES:
            self._transport.abort()
        elif head_end >= 0 and is_complete(self._buffer, head_end):
            request, self._buffer = self._buffer, b""
            self._answer(request, head_end)

    def _answer(self, request: bytes, head_end: int) -> None:
        method, path = request[: request.index(b"\r\n")].split(b" ")[:2]
        if method == b"POST" and path.endswith(b"/images/generations"):
            self._answer_images(request, head_end)
        elif path.endswith(b"/models"):
            self._transport.write(self._upstream.models)
        elif path == b"/stats":
            self._transport.write(self._upstream.read_stats())
        else:
            self._transport.write(self._upstream.not_found)

    def _answer_images(self, request: bytes, head_end: int) -> None:
        choice = CHOICE.search(request, head_end)
        kind, delay_ms = (choice[1], min(int(choice[2]), MAX_DELAY_MS)) if choice else (b"small", 0)
        self._upstream.begin()
        loop = asyncio.get_running_loop()
        if STREAM.search(request, head_end):
            loop.call_later(delay_ms / 1000, self._transport.write, self._upstream.events[0])
            loop.call_later(2 * delay_ms / 1000 + 0.001, self._send_end)
        elif delay_ms:
            loop.call_later(delay_ms / 1000, self._send, kind)
        else:
            self._send(kind)

    def _send_end(self) -> None:
        self._upstream.end()
        if not self._transport.is_closing():
            self._transport.write(self._upstream.events[1])

    def _send(self, kind: bytes) -> None:
        self._upstream.end()
        if not self._transport.is_closing():
            self._transport.write(self._upstream.images[kind])


def is_complete(request: bytes, head_end: int) -> bool:
    if length := LENGTH.search(request, 0, head_end + 2):
        return len(request) >= head_end + 4 + int(length[1])
    return not CHUNKED.search(request, 0, head_end + 2) or request.endswith(b"0\r\n\r\n")


async def serve(port: int) -> None:
    """Answer on 127.0.0.1 until SIGTERM or SIGINT. The first line printed is the port."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    upstream = Upstream()
    server = await loop.create_server(lambda: Connection(upstream), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Nothing here makes cycles, and a collection would show as latency of whoever is measured.
    gc.freeze()
    gc.disable()
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fast loopback upstream in OpenAI's images shape.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
