"""Load at the speed of C: wrk, which sends the same request over and over and counts the answers.

Its percentiles are read at the end of a run: it has filled in the calls that a late answer kept from being sent
(`stats_correct` in its wrk.c, read 2026-11-22), so they are upper bounds. What is compared by latency is measured with
`benchmarks.load`, which keeps every sample.
"""

import json
from pathlib import Path

from benchmarks.load import LoadReport
from benchmarks.peers.installing import Tool
from benchmarks.processes import BenchmarkError, Command, capture
from benchmarks.scenarios import ANSWER_S, Bench, Scenario, Target, body_for

DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.stdout:write(string.format(
    '\\nresult {"requests":%d,"us":%d,"bytes":%d,"p50":%d,"p90":%d,"p99":%d,"max":%d,'
    .. '"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max,
    e.status, e.connect, e.read, e.write, e.timeout))
end
"""
ERRORS = ("status", "connect", "read", "write", "timeout")


def run_wrk(tool: Tool, bench: Bench, target: Target, scenario: Scenario) -> LoadReport:
    """One load of whole seconds, at least one. Raises BenchmarkError."""
    seconds = max(1, round(scenario.seconds))
    script = write_script(bench.folder, target, scenario)
    args = (*tool.command, "-t1", f"-c{scenario.concurrency}", f"-d{seconds}s", "--timeout", "60s")
    command = Command((*args, "-s", str(script), target.url), bench.folder / "wrk.log", tool.env, bench.cores)
    printed = capture(command, timeout_s=seconds + ANSWER_S)
    lines = [line for line in printed.splitlines() if line.startswith("result ")]
    if not lines:
        raise BenchmarkError(f"wrk said nothing of {target.name}: {printed[-500:]}")
    return to_report(json.loads(lines[0].removeprefix("result ")))


def write_script(folder: Path, target: Target, scenario: Scenario) -> Path:
    """A request that never changes is written once by wrk, so that no Lua runs per request."""
    headers = [header.partition(":") for header in ("content-type: application/json", *target.headers)]
    lines = ['wrk.method = "POST"', f"wrk.body = {json.dumps(body_for(target, scenario))}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value.strip())}" for name, _, value in headers]
    script = folder / "load.lua"
    script.write_text("\n".join(lines) + DONE)
    return script


def to_report(found: dict[str, int]) -> LoadReport:
    """wrk counts heads among the bytes; they are left in, 0.2 KB in 6 KB at most."""
    seconds = found["us"] / 1e6
    p50, p90, p99, longest = (found[name] / 1000 for name in ("p50", "p90", "p99", "max"))
    return LoadReport(
        requests=found["requests"],
        seconds=seconds,
        requests_per_s=round(found["requests"] / seconds, 1) if seconds else 0.0,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=longest,
        body_bytes=found["bytes"],
        answers=found["requests"] - found["status"],
        checked=0,
        errors={name: found[name] for name in ERRORS if found[name]},
    )
