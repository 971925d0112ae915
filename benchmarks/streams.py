"""What a gateway adds to a stream: to its first byte, and to the first preview.

    python -m benchmarks.streams                  # about half a minute

An upstream shows a preview after 50 ms and the image after 100. Four callers read streams at once, directly and through
the gateway, in turns. The gateway's own first byte says that the hold is taken; it comes before the upstream's.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gateway import Gateway, books, create_key, parse_command, serving
from benchmarks.load import percentile
from benchmarks.machine import cpu_model
from benchmarks.processes import BenchmarkError, Command, free_port, running, wait_ready

CONCURRENCY = 4
DELAY_MS = 50
STREAMS = 100
TURNS = 3
PREVIEW, COMPLETED = b"event: image_generation.partial_image", b"event: image_generation.completed"


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds from the request on, one for each stream."""

    first_byte: list[float]
    preview: list[float]


async def read_streams(port: int, key: str, streams: int) -> Times:
    """Raises BenchmarkError when a stream lacks its preview or its image."""
    body = json.dumps(
        {
            "model": "gpt-image-2.5-flare",
            "prompt": f"bench:small:{DELAY_MS}",
            "size": "1024x1024",
            "quality": "low",
            "stream": True,
            "partial_images": 1,
        }
    )
    head = f"POST /v1/images/generations HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
    sent = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    left, times = iter(range(streams)), Times([], [])

    async def caller() -> None:
        for _ in left:
            await read_one(port, sent, times)

    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    return times


async def read_one(port: int, sent: bytes, times: Times) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began, got = time.perf_counter(), b""
    writer.write(sent)
    preview_ms = None
    while COMPLETED not in got and (piece := await asyncio.wait_for(reader.read(65_536), 30)):
        now_ms = 1000 * (time.perf_counter() - began)
        if not got:
            first_ms = now_ms
        got += piece
        if preview_ms is None and PREVIEW in got:
            preview_ms = now_ms
    writer.close()
    if preview_ms is None or COMPLETED not in got:
        raise BenchmarkError(f"a stream broke off: {got[:300].decode(errors='replace')}")
    times.first_byte.append(first_ms)
    times.preview.append(preview_ms)


def say(name: str, direct: list[float], through: list[float]) -> None:
    for label, take in (("median", 50), ("p99", 99)):
        alone, with_us = (percentile(sorted(values), take) for values in (direct, through))
        print(f"| {name}, {label} | {alone:.1f} ms | {with_us:.1f} ms | {with_us - alone:+.1f} ms |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a gateway adds to a stream.")
    parser.add_argument("--gateway-command", help="instead of this environment's python -m imagegate")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="imagegate-bench-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        upstream = Command(
            (sys.executable, "-m", "benchmarks.upstream", "--port", str(port)), folder / "upstream.log"
        )
        gateway = Gateway(parse_command(options.gateway_command), folder, port)
        with running(upstream) as process, books(gateway):
            wait_ready(process, upstream, port, "/v1/models", timeout_s=20)
            key = create_key(gateway)
            with serving(gateway, cores=None) as served:
                asyncio.run(read_streams(served.port, key, 2 * CONCURRENCY))
                turns = [
                    tuple(asyncio.run(read_streams(where, key, STREAMS)) for where in (port, served.port))
                    for _ in range(TURNS)
                ]
    print(f"{cpu_model()}; {CONCURRENCY} at once, {STREAMS} streams a turn, {TURNS} turns each\n")
    print("| measured | direct | gateway | added |\n|---|---:|---:|---:|")
    for what in ("first_byte", "preview"):
        direct, through = ([t for turn in turns for t in getattr(turn[side], what)] for side in (0, 1))
        say(what.replace("_", " "), direct, through)
    medians = [statistics.median(t[1].preview) - statistics.median(t[0].preview) for t in turns]
    print(f"\nadded to the preview's median, turn by turn: {[round(value, 1) for value in medians]} ms")


if __name__ == "__main__":
    main()
