"""More than a gateway can do: what it still does, how soon it says no, and how soon it is itself again.

    python -m benchmarks.overload                 # about four minutes

The peak is what a closed loop of 64 callers gets. Then requests come at three times that rate, whoever waits; those
that are shed do not come again. After that: one account far above its cap beside a quiet one, large bodies at once
against the budget of bytes, and thousands of connections whose heads do not end.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks.arrivals import Arrived, arrive
from benchmarks.gateway import (
    Gateway,
    Serving,
    books,
    create_key,
    parse_command,
    run_command,
    serving,
    verify_ledger,
)
from benchmarks.load import LoadPlan, LoadReport, build_request
from benchmarks.load import run as run_closed
from benchmarks.machine import cpu_model
from benchmarks.probes import HealthProbe, MemoryProbe, rss_mib
from benchmarks.processes import BenchmarkError, Command, free_port, running, wait_ready

PATH = "/v1/images/generations"
MODEL = "gpt-image-2.5-flare"
CALLERS = 64
QUIET = 8
TIMES = 3.0
CAP = 8
SLOW_HEADS = 5_000
BODIES, BODY_MB = 64, 24


@dataclass(frozen=True, slots=True)
class Under:
    """What is measured: a gateway, and the keys of a busy and of a quiet account."""

    served: Serving
    key: str
    other: str
    seconds: float

    def request(self, key: str, body: bytes) -> bytes:
        url = f"http://127.0.0.1:{self.served.port}{PATH}"
        return build_request(url, (f"Authorization: Bearer {key}",), body)

    def small(self, key: str, delay_ms: int = 0) -> bytes:
        said = {"model": MODEL, "prompt": f"bench:small:{delay_ms}", "size": "1024x1024", "quality": "low"}
        return self.request(key, json.dumps(said).encode())

    def closed(self, key: str, callers: int, seconds: float, delay_ms: int = 0) -> LoadReport:
        request = self.small(key, delay_ms)
        plan = LoadPlan("127.0.0.1", self.served.port, request, callers, seconds, 1.0, None, 30.0)
        return uvloop.run(run_closed(plan))


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def saturate(under: Under) -> None:
    """Raises BenchmarkError when anything but 200 and 503 came."""
    peak = under.closed(under.key, CALLERS, 10.0).requests_per_s
    calm = under.closed(under.key, QUIET, 5.0)
    with HealthProbe(under.served.port) as health:
        request = under.small(under.key)
        told: Arrived = uvloop.run(
            arrive("127.0.0.1", under.served.port, request, TIMES * peak, under.seconds)
        )
    if strange := {status: len(ms) for status, ms in told.ms.items() if status not in (200, 503)}:
        raise BenchmarkError(f"answers that nobody should get: {strange}")
    after = under.closed(under.key, QUIET, 5.0)
    row(f"peak, {CALLERS} callers", f"{peak:.0f}/s", "")
    row(f"offered for {under.seconds:.0f} s", f"{told.sent / told.seconds:.0f}/s", "")
    row("goodput", f"{told.per_s(200):.0f}/s, {told.per_s(200) / peak:.0%} of the peak", "≥ 90 %")
    row("p99 of those that were made", f"{told.p(200, 99):.0f} ms", "")
    row("shed", f"{told.per_s(503):.0f}/s", "")
    row("p50 / p99 of those that were shed", f"{told.p(503, 50):.1f} / {told.p(503, 99):.1f} ms", "≤ 50 ms")
    row("/healthz p99", f"{health.pings().p99_ms:.1f} ms", "≤ 50 ms")
    row(f"p50 of {QUIET} callers before, right after", f"{calm.p50_ms:.1f}, {after.p50_ms:.1f} ms", "alike")


def be_noisy(under: Under) -> None:
    """The busy account has a cap on what runs at once, and comes at twenty times of it."""
    alone = under.closed(under.other, QUIET, 8.0, delay_ms=50)

    async def both() -> tuple[LoadReport, LoadReport]:
        port = under.served.port
        quiet = LoadPlan("127.0.0.1", port, under.small(under.other, 50), QUIET, 8.0, 1.0, None, 30.0)
        noisy = LoadPlan("127.0.0.1", port, under.small(under.key, 50), CAP * 20, 10.0, 0.0, None, 30.0)
        return await asyncio.gather(run_closed(quiet), run_closed(noisy))

    beside, noise = uvloop.run(both())
    refused = sum(noise.errors.values()) / 10.0
    row(f"refused to an account at 20 times its cap of {CAP}", f"{refused:.0f}/s", "")
    times = beside.p99_ms / alone.p99_ms
    row("p99 of a quiet account alone, beside it", f"{alone.p99_ms:.0f}, {beside.p99_ms:.0f} ms", "")
    row("that is", f"{times:.2f} times", "≤ 1.5")


def send_large(under: Under) -> None:
    """Edits as JSON whose picture is mostly padding behind a PNG's end: read whole, and then drawn or shed."""
    before = rss_mib(under.served.pid)
    picture = "A" * (BODY_MB * 1024 * 1024)
    said = {"model": "sandbox", "prompt": "a hat", "size": "256x256", "image": picture}
    url = f"http://127.0.0.1:{under.served.port}/v1/images/edits"
    request = build_request(url, (f"Authorization: Bearer {under.key}",), json.dumps(said).encode())
    plan = LoadPlan("127.0.0.1", under.served.port, request, BODIES, 60.0, 0.0, BODIES, 60.0)
    with MemoryProbe(under.served.pid) as memory:
        told = uvloop.run(run_closed(plan))
    row(
        f"{BODIES} bodies of {BODY_MB} MB at once",
        ", ".join(f"{n} × {k}" for k, n in told.errors.items()),
        "",
    )
    row("memory before, highest", f"{before:.0f}, {memory.peak_mib:.0f} MiB", "512 MiB above")


async def drip(port: int, count: int, until: asyncio.Event) -> int:
    """How many connections were open at once; each sends a byte of its head every two seconds."""
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        writers.append(writer)
    while not until.is_set():
        for writer in writers:
            if not writer.is_closing():
                writer.write(b"x")
        await asyncio.sleep(2.0)
    for writer in writers:
        writer.transport.abort()
    return len(writers)


def hold_heads(under: Under) -> None:
    alone = under.closed(under.other, QUIET, 8.0, delay_ms=50)

    async def both() -> tuple[LoadReport, int]:
        over = asyncio.Event()
        dripping = asyncio.create_task(drip(under.served.port, SLOW_HEADS, over))
        await asyncio.sleep(2.0)
        request = under.small(under.other, 50)
        plan = LoadPlan("127.0.0.1", under.served.port, request, QUIET, 8.0, 1.0, None, 30.0)
        report = await run_closed(plan)
        over.set()
        return report, await dripping

    beside, opened = uvloop.run(both())
    row(f"p99 beside {opened} slow heads", f"{alone.p99_ms:.0f}, {beside.p99_ms:.0f} ms", "")
    row("that is", f"{beside.p99_ms / alone.p99_ms:.2f} times", "≤ 2")


def another(gateway: Gateway) -> str:
    """A second account with a full wallet. Returns its key."""
    owner = ("--account", "quiet", "--env", "live")
    run_command(gateway, "accounts", "create", "quiet", "--json")
    printed = run_command(gateway, "keys", "create", *owner, "--json")
    run_command(
        gateway, "wallets", "top-up", *owner, "--tokens", "1000000000000", "--reason", "bench", "--json"
    )
    return str(json.loads(printed)["key"])


@contextmanager
def prepared(options: argparse.Namespace) -> Iterator[tuple[Gateway, str, str]]:
    with TemporaryDirectory(prefix="imagegate-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        port = free_port()
        upstream = Command(
            (sys.executable, "-m", "benchmarks.upstream", "--port", str(port)), folder / "upstream.log"
        )
        gateway = Gateway(parse_command(options.gateway_command), folder, port)
        with running(upstream) as process, books(gateway):
            wait_ready(process, upstream, port, "/v1/models", timeout_s=20)
            yield gateway, create_key(gateway), another(gateway)
            verify_ledger(gateway)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a gateway that has more to do than it can.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of three times the peak")
    parser.add_argument("--gateway-command", help="instead of this environment's python -m imagegate")
    options = parser.parse_args()
    print(f"{cpu_model()}, {os.cpu_count()} cores shared with database, upstream and load\n")
    row("overload", "found", "asked")
    row("---", "---:", "---:")
    with prepared(options) as (gateway, key, other):
        with serving(gateway, cores=None) as served:
            under = Under(served, key, other, options.seconds)
            saturate(under)
            hold_heads(under)
            send_large(under)
        cap = ("--concurrent", str(CAP), "--reason", "bench")
        run_command(gateway, "limits", "set", "--account", "bench", "--env", "live", *cap, "--json")
        with serving(gateway, cores=None) as served:
            be_noisy(Under(served, key, other, options.seconds))


if __name__ == "__main__":
    main()
