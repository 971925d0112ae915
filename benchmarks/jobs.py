"""Async jobs: how soon a thousand are accepted, how they are drained, what they cost in memory; and what webhooks
cost the callers who wait.

    python -m benchmarks.jobs                     # about two minutes

Drained at the provider's speed means: jobs x the upstream's delay / places in the lane. Webhooks go to a receiver on
loopback while callers without one are served as fast as they can be; the same load without deliveries alternates.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import httpx

from benchmarks.gateway import Gateway, Serving, books, create_key, parse_command, run_command, serving
from benchmarks.machine import cpu_model
from benchmarks.probes import MemoryProbe, rss_mib
from benchmarks.processes import BenchmarkError, Command, free_port, running, wait_ready
from benchmarks.scenarios import Bench, Scenario, Target, run_load

PATH = "/v1/images/generations"
MODEL = "gpt-image-2.5-flare"
SENDERS = 32
DRAIN_S = 600.0
LOAD_S = 5.0
TURNS = 7
OPEN = ("queued", "in_progress")


class Receiver(BaseHTTPRequestHandler):
    """Takes events and counts them."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.seen[self.headers.get("webhook-id", "")] += 1
        self.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def receiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook"
        server.shutdown()


@dataclass(frozen=True, slots=True)
class Jobs:
    """What was measured of them. ideal_s: what the upstream alone would take."""

    count: int
    accepted_s: float
    drained_s: float
    ideal_s: float
    base_mib: float
    queued_mib: float
    peak_mib: float


async def send(port: int, key: str, count: int, delay_ms: int, webhook_url: str) -> None:
    """By bare sockets, since a client library would take as long as the gateway. Raises BenchmarkError."""
    body = json.dumps(
        {
            "model": MODEL,
            "prompt": f"bench:small:{delay_ms}",
            "size": "1024x1024",
            "quality": "low",
            "webhook_url": webhook_url,
        }
    )
    head = f"POST {PATH}/async HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
    sent = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    left = iter(range(count))

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(sent)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer.lower())
            told = await reader.readexactly(int(length[1]) if length else 0)
            if b" 202 " not in answer.split(b"\r\n", 1)[0]:
                raise BenchmarkError(f"a job was not accepted: {told[:300].decode(errors='replace')}")
        writer.close()

    await asyncio.gather(*(caller() for _ in range(SENDERS)))


def waiting(port: int, key: str) -> bool:
    """Whether any job is still open. Raises BenchmarkError when one has failed."""
    headers = {"authorization": f"Bearer {key}"}

    def any_of(status: str) -> bool:
        answer = httpx.get(
            f"http://127.0.0.1:{port}{PATH}?status={status}&limit=1", headers=headers, timeout=30
        )
        return bool(answer.json()["data"])

    if any_of("failed"):
        raise BenchmarkError("a job has failed")
    return any(any_of(status) for status in OPEN)


def measure(served: Serving, key: str, count: int, delay_ms: int, places: int, url: str) -> Jobs:
    base_mib = rss_mib(served.pid)
    with MemoryProbe(served.pid) as memory:
        began = time.perf_counter()
        asyncio.run(send(served.port, key, count, delay_ms, url))
        accepted = time.perf_counter()
        queued_mib = rss_mib(served.pid)
        while waiting(served.port, key):
            if time.perf_counter() - began > DRAIN_S:
                raise BenchmarkError("the jobs were not drained in time")
            time.sleep(0.1)
        drained = time.perf_counter()
    ideal_s = count * delay_ms / 1000 / places
    return Jobs(count, accepted - began, drained - began, ideal_s, base_mib, queued_mib, memory.peak_mib)


def again(gateway: Gateway) -> None:
    """All events once more, as a receiver that was away for a day would have them."""
    renew = (
        "UPDATE webhook_outbox SET state = 'pending', ended_at = NULL, next_at = now(), created_at = now()"
    )
    run_command(gateway, "db", "shell", "-c", renew)


def throughput(bench: Bench, served: Serving, key: str) -> float:
    """Requests/s of callers who wait, 64 at once."""
    url = f"http://127.0.0.1:{served.port}{PATH}"
    target = Target("imagegate", url, (f"Authorization: Bearer {key}",), MODEL)
    return run_load(bench, target, Scenario("small", "small", 0, 64, LOAD_S)).requests_per_s


def say_jobs(jobs: Jobs) -> None:
    print("| measured | |\n|---|---:|")
    print(f"| {jobs.count} jobs accepted, {SENDERS} callers | {jobs.accepted_s:.1f} s |")
    print(f"| drained, from the first request | {jobs.drained_s:.1f} s |")
    print(f"| the upstream alone would take | {jobs.ideal_s:.1f} s |")
    print(
        f"| memory before, with all accepted, highest | {jobs.base_mib:.0f} / {jobs.queued_mib:.0f} / ",
        end="",
    )
    print(f"{jobs.peak_mib:.0f} MiB |", flush=True)


def say_webhooks(without: list[float], beside: list[float], delivered: int) -> None:
    changes = [with_them / alone - 1 for alone, with_them in zip(without, beside, strict=True)]
    print(f"| callers who wait, no webhooks | {statistics.median(without):.0f} requests/s |")
    print(f"| the same while events are delivered | {statistics.median(beside):.0f} requests/s |")
    print(f"| change within a turn, median of {len(changes)} | {statistics.median(changes):+.1%} |")
    print(f"| events delivered meanwhile, a second | {delivered / (LOAD_S * len(beside)):.0f} |")
    print(f"\nchange, turn by turn: {', '.join(f'{change:+.0%}' for change in changes)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure async jobs and webhooks.")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--delay-ms", type=int, default=250, help="of the upstream")
    parser.add_argument("--places", type=int, default=16, help="in the lane")
    parser.add_argument("--gateway-command", help="instead of this environment's python -m imagegate")
    options = parser.parse_args()
    print(f"{cpu_model()}; upstream {options.delay_ms} ms, {options.places} places\n")
    with TemporaryDirectory(prefix="imagegate-bench-", ignore_cleanup_errors=True) as name, receiver() as url:
        folder = Path(name)
        folder.chmod(0o755)
        os.environ["IMAGEGATE_JOB_CONCURRENCY"] = str(options.places)
        os.environ["IMAGEGATE_WEBHOOK_ALLOW_PRIVATE"] = "true"
        port = free_port()
        upstream = Command(
            (sys.executable, "-m", "benchmarks.upstream", "--port", str(port)), folder / "upstream.log"
        )
        gateway = Gateway(parse_command(options.gateway_command), folder, port)
        with running(upstream) as process, books(gateway):
            wait_ready(process, upstream, port, "/v1/models", timeout_s=20)
            key = create_key(gateway)
            bench = Bench(folder, port, 1, None, print)
            with serving(gateway, cores=None) as served:
                say_jobs(measure(served, key, options.jobs, options.delay_ms, options.places, url))
                compare(bench, gateway, served, key)


def compare(bench: Bench, gateway: Gateway, served: Serving, key: str) -> None:
    """Turns without and with deliveries, alternating."""
    without, beside, delivered = [], [], 0
    for _ in range(TURNS):
        while_quiet(served, key)
        without.append(throughput(bench, served, key))
        again(gateway)
        before = Receiver.seen.total()
        beside.append(throughput(bench, served, key))
        delivered += Receiver.seen.total() - before
    say_webhooks(without, beside, delivered)


def while_quiet(served: Serving, key: str) -> None:
    """Until no event has come for a second."""
    seen = -1
    while seen != Receiver.seen.total():
        seen = Receiver.seen.total()
        time.sleep(1.0)


if __name__ == "__main__":
    main()
