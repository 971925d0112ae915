"""A closed-loop load generator: every connection sends its next request when its answer is complete.

Runs as a process of its own and prints one JSON object, a `LoadReport`.
"""

import argparse
import asyncio
import gc
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.answers import AnswerReader, MalformedAnswer

IMAGE = re.compile(rb'"b64_json"\s*:\s*"iVBORw0KGgo')
CODE = re.compile(rb'"code"\s*:\s*"(\w{1,40})"')
SAMPLE_EVERY = 16
LOOPBACK = ("127.0.0.1", "localhost", "::1")
RECONNECT_S = 0.02


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Latencies, bytes and requests/s are of answers with status 200 inside the measured window.

    `answers` counts every answer with status 200, warm-up included. `errors` counts what went wrong by its
    status with its code, or a word: `closed`, `connect`, `timeout`, `malformed`, `no image`.
    """

    requests: int
    seconds: float
    requests_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    body_bytes: int
    answers: int
    checked: int
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """`count` requests or `seconds` end the run; the `warm_up_s` before them are not measured.

    The callers come one by one over `ramp_s`, so that slow answers do not make them a herd.
    """

    host: str
    port: int
    request: bytes
    concurrency: int
    seconds: float
    warm_up_s: float
    count: int | None
    timeout_s: float
    ramp_s: float = 0.0


class Load:
    """The state of one run, shared by its connections."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.errors: Counter[str] = Counter()
        self.answers = 0
        self.checked = 0
        self._latencies_s: list[float] = []
        self._body_bytes = 0
        self._issued = 0
        self._started = perf_counter()
        self._warm = self._started + plan.warm_up_s
        self._end = self._warm + plan.seconds
        self._last = self._started

    def is_over(self) -> bool:
        if self.plan.count is not None and self._issued >= self.plan.count:
            return True
        return perf_counter() >= self._end

    def issue(self) -> AnswerReader:
        """Count one request. The first answer of every connection and then one in so many is looked into."""
        self._issued += 1
        sampled = self._issued <= self.plan.concurrency or self._issued % SAMPLE_EVERY == 0
        return AnswerReader(keep=sampled)

    def finished(self, sent_at: float, answer: AnswerReader) -> None:
        now = perf_counter()
        if answer.status != 200:
            code = CODE.search(b"".join(answer.kept or ()))
            self.errors[f"{answer.status} {code[1].decode()}" if code else str(answer.status)] += 1
            return
        if answer.kept is not None:
            self.checked += 1
            if not IMAGE.search(b"".join(answer.kept)):
                self.errors["no image"] += 1
        self.answers += 1
        self._last = now
        if self._warm <= now <= self._end or self.plan.count is not None:
            self._latencies_s.append(now - sent_at)
            self._body_bytes += answer.body_bytes

    def report(self) -> LoadReport:
        latencies_ms = sorted(1000 * latency for latency in self._latencies_s)
        seconds = self.plan.seconds if self.plan.count is None else self._last - self._started
        return LoadReport(
            requests=len(latencies_ms),
            seconds=round(seconds, 3),
            requests_per_s=round(len(latencies_ms) / seconds, 1) if seconds else 0.0,
            p50_ms=percentile(latencies_ms, 50),
            p90_ms=percentile(latencies_ms, 90),
            p99_ms=percentile(latencies_ms, 99),
            max_ms=percentile(latencies_ms, 100),
            body_bytes=self._body_bytes,
            answers=self.answers,
            checked=self.checked,
            errors=dict(self.errors),
        )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of an ascending list; 0 of an empty one."""
    return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 3) if ordered else 0.0


class Connection(asyncio.Protocol):
    """One keep-alive connection. `over` is done when it is closed, for whatever reason."""

    def __init__(self, load: Load) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self._load = load
        self._answer: AnswerReader | None = None
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass
        self._send()

    def _send(self) -> None:
        if self._load.is_over():
            self._transport.close()
            return
        self._answer = self._load.issue()
        self._sent_at = perf_counter()
        self._transport.write(self._load.plan.request)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        try:
            if answer is None or not answer.feed(data):
                return
        except (MalformedAnswer, ValueError):
            self._load.errors["malformed"] += 1
            self._answer = None
            self._transport.abort()
            return
        self._answer = None
        self._load.finished(self._sent_at, answer)
        if answer.closes:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer is not None:
            self._load.errors["closed"] += 1
        if not self.over.done():
            self.over.set_result(None)

    def give_up(self) -> None:
        """Called when the run's time is over and the answer still has not come."""
        self._load.errors["timeout"] += 1
        self._answer = None
        self._transport.abort()


async def keep_connected(load: Load, until: float, after_s: float) -> None:
    """One of the concurrent callers: connects again when it was closed, until the run is over."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(after_s)
    while not load.is_over():
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(load), load.plan.host, load.plan.port
            )
        except OSError:
            load.errors["connect"] += 1
        else:
            await asyncio.wait([connection.over], timeout=max(0.0, until - perf_counter()))
            if not connection.over.done():
                connection.give_up()
        if not load.is_over():
            await asyncio.sleep(RECONNECT_S)


async def run(plan: LoadPlan) -> LoadReport:
    load = Load(plan)
    until = perf_counter() + plan.warm_up_s + plan.seconds + plan.timeout_s
    gap_s = plan.ramp_s / plan.concurrency
    await asyncio.gather(*(keep_connected(load, until, gap_s * caller) for caller in range(plan.concurrency)))
    return load.report()


def build_request(url: str, headers: Sequence[str], body: bytes) -> bytes:
    parts = urlsplit(url)
    lines = [f"POST {parts.path or '/'} HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json"]
    lines += [*headers, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def parse_plan(arguments: Sequence[str]) -> LoadPlan:
    parser = argparse.ArgumentParser(description="A closed-loop load generator for loopback.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    body = parser.add_mutually_exclusive_group(required=True)
    body.add_argument("--body", help="the JSON to post")
    body.add_argument("--body-file", type=Path)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="the measured window; bounds --count")
    parser.add_argument("--count", type=int, help="stop after so many requests")
    parser.add_argument("--warm-up", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument(
        "--ramp", type=float, default=0.0, metavar="SECONDS", help="the callers come over so long"
    )
    parser.add_argument("--timeout", type=float, default=30.0, help="wait so long for the last answers")
    args = parser.parse_args(arguments)
    parts = urlsplit(args.url)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        parser.error("only http:// on loopback is loaded")
    content = args.body_file.read_bytes() if args.body_file else args.body.encode()
    return LoadPlan(
        host=parts.hostname,
        port=parts.port or 80,
        request=build_request(args.url, args.header, content),
        concurrency=args.concurrency,
        seconds=args.seconds,
        warm_up_s=0.0 if args.count is not None else args.warm_up,
        count=args.count,
        timeout_s=args.timeout,
        ramp_s=args.ramp,
    )


def main() -> None:
    plan = parse_plan(sys.argv[1:])
    # Nothing here makes cycles, and a collection would show as latency of whoever is measured.
    gc.freeze()
    gc.disable()
    print(json.dumps(asdict(uvloop.run(run(plan)))))


if __name__ == "__main__":
    main()
