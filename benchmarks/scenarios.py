"""What is measured: one load on one target, alternating between targets and repeated."""

import http.client
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.load import LoadReport
from benchmarks.probes import HealthProbe, MemoryProbe, Pings, cpu_s, peak_rss_mib
from benchmarks.processes import BenchmarkError, Command, capture

WARM_UP_S = 1.0
ANSWER_S = 60.0
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody who makes images.

    pid: whose memory and CPU time are read. pinged: the port whose `/healthz` is asked during the load;
    for the direct call it is the idle gateway's, which shows what the machine alone does to a ping.
    """

    name: str
    url: str
    headers: tuple[str, ...] = ()
    model: str = "gpt-image-2.5-flare"
    pid: int | None = None
    pinged: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load. `image` and `delay_ms` are told to the upstream in the prompt; the callers come over `ramp_s`."""

    name: str
    image: str
    delay_ms: int
    concurrency: int
    seconds: float
    count: int | None = None
    ramp_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one scenario on one target. `rss_high_mib` is the kernel's mark since the process began.

    `tree_peak_mib` is the process with its children.
    """

    target: str
    load: LoadReport
    upstream_requests: int
    in_flight_peak: int
    cpu_ms_per_request: float | None = None
    rss_peak_mib: float | None = None
    rss_high_mib: float | None = None
    tree_peak_mib: float | None = None
    pings: Pings | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs. `say` tells the user what goes on."""

    folder: Path
    upstream_port: int
    repeats: int
    cores: frozenset[int] | None
    say: Callable[[str], None]


def body_for(target: Target, scenario: Scenario) -> str:
    prompt = f"bench:{scenario.image}:{scenario.delay_ms} a red bicycle against a white wall"
    return json.dumps(
        {
            "model": target.model,
            "prompt": prompt,
            "size": "1024x1024",
            "quality": "low",
            "response_format": "b64_json",
        }
    )


def run_load(bench: Bench, target: Target, scenario: Scenario) -> LoadReport:
    """One load in a process of its own. Raises BenchmarkError."""
    command = [sys.executable, "-m", "benchmarks.load", "--url", target.url]
    command += [f"--header={header}" for header in target.headers]
    command += ["--body", body_for(target, scenario), "--concurrency", str(scenario.concurrency)]
    command += ["--seconds", str(scenario.seconds), "--warm-up", str(WARM_UP_S), "--timeout", str(ANSWER_S)]
    command += ["--count", str(scenario.count)] if scenario.count is not None else []
    command += ["--ramp", str(scenario.ramp_s)] if scenario.ramp_s else []
    env = {"PYTHONPATH": str(ROOT)}
    load = Command(tuple(command), bench.folder / "load.log", env, bench.cores)
    printed = capture(load, timeout_s=WARM_UP_S + scenario.seconds + 2 * ANSWER_S)
    return LoadReport(**json.loads(printed))


def read_stats(port: int) -> Mapping[str, int]:
    """What the upstream was asked since the last time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/stats")
        stats: Mapping[str, int] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return stats


def measure(bench: Bench, target: Target, scenario: Scenario) -> Sample:
    """One sample. Raises BenchmarkError when an answer was wrong or did not come from the upstream."""
    read_stats(bench.upstream_port)
    cpu_before_s = cpu_s(target.pid) if target.pid else 0.0
    with ExitStack() as probes:
        memory = probes.enter_context(MemoryProbe(target.pid)) if target.pid else None
        health = probes.enter_context(HealthProbe(target.pinged)) if target.pinged else None
        load = run_load(bench, target, scenario)
    stats = read_stats(bench.upstream_port)
    check(target, scenario, load, stats)
    sample = Sample(target.name, load, stats["requests"], stats["in_flight_peak"])
    if target.pid and memory:
        cpu_ms = 1000 * (cpu_s(target.pid) - cpu_before_s) / load.answers
        sample = replace(sample, cpu_ms_per_request=cpu_ms, rss_peak_mib=memory.peak_mib)
        sample = replace(sample, rss_high_mib=peak_rss_mib(target.pid), tree_peak_mib=memory.tree_mib)
    return replace(sample, pings=health.pings()) if health else sample


def check(target: Target, scenario: Scenario, load: LoadReport, stats: Mapping[str, int]) -> None:
    if load.errors or not load.requests or not load.checked:
        found = ", ".join(f"{count} × {what}" for what, count in load.errors.items()) or "no answers"
        raise BenchmarkError(
            f"{target.name}, {scenario.name}: {found}, {load.answers} answers with status 200"
        )
    if stats["requests"] < load.answers:
        raise BenchmarkError(
            f"{target.name} gave {load.answers} answers for {stats['requests']} upstream calls"
        )


def alternate(bench: Bench, targets: Sequence[Target], scenario: Scenario) -> list[Sample]:
    """Every target in turn, the turn beginning with another one each time, so that drift hits all alike."""
    samples = []
    for turn in range(bench.repeats):
        first = turn % len(targets)
        for target in (*targets[first:], *targets[:first]):
            sample = measure(bench, target, scenario)
            bench.say(f"{scenario.name}: {target.name}, {turn + 1} of {bench.repeats}: {told(sample.load)}")
            samples.append(sample)
    return samples


def told(load: LoadReport) -> str:
    return f"{load.requests_per_s:,.0f} requests/s, p50 {load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms"


@dataclass(frozen=True, slots=True)
class Summary:
    """One target over all turns: medians, and the worst of memory and of pings.

    `of_direct` and `added_*` are medians over the turns of this target's figure against the direct call's
    in the same turn.
    """

    target: str
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    mb_per_s: float
    of_direct: float
    added_p50_ms: float
    added_p99_ms: float
    in_flight_peak: int
    cpu_ms_per_request: float | None
    rss_peak_mib: float | None
    rss_high_mib: float | None
    ping_max_ms: float | None
    ping_p99_ms: float | None


def summarise(samples: Sequence[Sample], direct: str) -> list[Summary]:
    """One summary per target, the direct call first."""
    names = sorted({sample.target for sample in samples}, key=lambda name: (name != direct, name))
    turns = {name: [sample for sample in samples if sample.target == name] for name in names}
    return [summarise_one(name, turns[name], turns[direct]) for name in names]


def summarise_one(name: str, own: Sequence[Sample], direct: Sequence[Sample]) -> Summary:
    loads = [sample.load for sample in own]
    pairs = [(mine.load, theirs.load) for mine, theirs in zip(own, direct, strict=True)]
    pings = [sample.pings for sample in own if sample.pings]
    cpu = [sample.cpu_ms_per_request for sample in own if sample.cpu_ms_per_request is not None]
    rss = [sample.rss_peak_mib for sample in own if sample.rss_peak_mib is not None]
    high = [sample.rss_high_mib for sample in own if sample.rss_high_mib is not None]
    return Summary(
        target=name,
        requests_per_s=median(load.requests_per_s for load in loads),
        p50_ms=median(load.p50_ms for load in loads),
        p99_ms=median(load.p99_ms for load in loads),
        mb_per_s=median(load.body_bytes / load.seconds / 1e6 for load in loads),
        of_direct=median(mine.requests_per_s / theirs.requests_per_s for mine, theirs in pairs),
        added_p50_ms=median(mine.p50_ms - theirs.p50_ms for mine, theirs in pairs),
        added_p99_ms=median(mine.p99_ms - theirs.p99_ms for mine, theirs in pairs),
        in_flight_peak=max(sample.in_flight_peak for sample in own),
        cpu_ms_per_request=median(cpu) if cpu else None,
        rss_peak_mib=max(rss) if rss else None,
        rss_high_mib=max(high) if high else None,
        ping_max_ms=max(ping.max_ms for ping in pings) if pings else None,
        ping_p99_ms=median(ping.p99_ms for ping in pings) if pings else None,
    )
