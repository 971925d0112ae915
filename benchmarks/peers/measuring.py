"""The workloads: who is started, who is asked in which order, what is kept of it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from benchmarks.peers.installing import Tool
from benchmarks.peers.nginx import count_requests
from benchmarks.peers.rivals import Peer
from benchmarks.peers.wrk import run_wrk
from benchmarks.probes import MemoryProbe, cpu_s, peak_rss_mib, rss_mib
from benchmarks.processes import BenchmarkError, Cores
from benchmarks.scenarios import Bench, Sample, Scenario, Target, measure, run_load, told

Say = Callable[[str], None]
CHECK_S = 120.0
MOST_REASON = 300

SMALL = Scenario("small", "small", 0, 64, 5.0)
LARGE = Scenario("large", "large", 0, 16, 5.0)
LATENCY = Scenario("latency", "small", 50, 1, 20.0)
LARGE_FLIGHT = Scenario("64 × 2 MB", "large", 1000, 64, 120.0, count=256)
SLOW = Scenario("500 of 2 s", "small", 2000, 500, 120.0, count=1500, ramp_s=2.0)
HERD = replace(SLOW, name="500 of 2 s at the same moment", ramp_s=0.0)
MANY = Scenario("2,000 of 10 s", "small", 10_000, 2000, 180.0, count=4000, ramp_s=10.0)
FLIGHTS = (LARGE_FLIGHT, SLOW, HERD, MANY)
"""Whole flights of calls over slow upstreams; `ramp_s` spreads them as callers who do not know each other come."""


@dataclass(frozen=True, slots=True)
class Fast:
    """Load and upstream at the speed of C. port: where nginx answers at once."""

    port: int
    wrk: Tool


@dataclass(frozen=True, slots=True)
class Lab:
    """bench.upstream_port: the upstream that can wait; it answers at once too where `fast` is not to be had."""

    bench: Bench
    cores: Cores
    fast: Fast | None

    def fast_url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.fast.port}/{kind}/v1" if self.fast else self.slow_url

    @property
    def slow_url(self) -> str:
        return f"http://127.0.0.1:{self.bench.upstream_port}/v1"


@dataclass(slots=True)
class Part:
    """One workload: samples in the order they were taken, and who failed at it. `ready_mib`: memory before."""

    samples: list[Sample] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    ready_mib: dict[str, float] = field(default_factory=dict)

    def of(self, name: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.target == name]

    def fail(self, name: str, error: BenchmarkError, say: Say) -> None:
        """Who cannot do it is left out of the workload and named; the run goes on."""
        reason = str(error).partition("\n")[0]
        self.failed[name] = reason[:MOST_REASON]
        say(f"{name} is left out: {error}")


def measure_fast(lab: Lab, peers: Sequence[Peer], scenario: Scenario) -> Part:
    """Throughput: fresh processes of everybody, who then take turns."""

    def sample(target: Target) -> Sample:
        if lab.fast:
            return measure_by_wrk(lab.bench, lab.fast, target, scenario)
        return measure(lab.bench, target, scenario)

    return take_turns(lab, peers, lab.fast_url(scenario.image), scenario.name, sample)


def measure_latency(lab: Lab, peers: Sequence[Peer], scenario: Scenario) -> Part:
    return take_turns(
        lab, peers, lab.slow_url, scenario.name, lambda target: measure(lab.bench, target, scenario)
    )


def take_turns(
    lab: Lab, peers: Sequence[Peer], base_url: str, name: str, sample: Callable[[Target], Sample]
) -> Part:
    """All are up, one is asked; the turn begins with another one each time."""
    part = Part()
    with ExitStack() as stack:
        targets: list[Target] = []
        for peer in peers:
            try:
                targets.append(stack.enter_context(start(lab, peer, base_url)))
            except BenchmarkError as error:
                part.fail(peer.name, error, lab.bench.say)
        for turn in range(lab.bench.repeats):
            first = turn % len(targets)
            for target in (*targets[first:], *targets[:first]):
                if target.name not in part.failed:
                    take_turn(part, target, sample, f"{name}: {target.name}, turn {turn + 1}", lab.bench.say)
    # Only whole turns are compared.
    part.samples = [one for one in part.samples if one.target not in part.failed]
    return part


def take_turn(part: Part, target: Target, sample: Callable[[Target], Sample], words: str, say: Say) -> None:
    try:
        taken = sample(target)
    except BenchmarkError as error:
        part.fail(target.name, error, say)
        return
    part.samples.append(taken)
    memory = f", {taken.tree_peak_mib:.0f} MiB" if taken.tree_peak_mib else ""
    say(f"{words}: {told(taken.load)}{memory}")


def start(lab: Lab, peer: Peer, base_url: str) -> AbstractContextManager[Target]:
    lab.bench.say(f"starting {peer.name}")
    folder = lab.bench.folder / "peers" / peer.name.replace(" ", "-")
    return peer.start(base_url, folder, lab.cores.gateway)


def measure_by_wrk(bench: Bench, fast: Fast, target: Target, scenario: Scenario) -> Sample:
    """Warmed up and looked into by our own load first, which reads the pictures; then wrk counts."""
    look = replace(scenario, count=2 * scenario.concurrency, seconds=CHECK_S)
    looked = run_load(bench, target, look)
    if looked.errors or not looked.checked:
        raise BenchmarkError(f"{target.name}, {scenario.name}: {dict(looked.errors)} in {look.count} answers")
    before, cpu_before_s = count_requests(fast.port), cpu_s(target.pid) if target.pid else 0.0
    with ExitStack() as probes:
        memory = probes.enter_context(MemoryProbe(target.pid)) if target.pid else None
        load = run_wrk(fast.wrk, bench, target, scenario)
    asked = count_requests(fast.port) - before - 1
    if load.errors or not load.answers or asked < load.answers:
        raise BenchmarkError(
            f"{target.name}, {scenario.name}: {load.answers} answers, {asked} calls upstream, {dict(load.errors)}"
        )
    sample = Sample(target.name, replace(load, checked=looked.checked), asked, scenario.concurrency)
    if not (target.pid and memory):
        return sample
    return replace(
        sample,
        cpu_ms_per_request=1000 * (cpu_s(target.pid) - cpu_before_s) / load.answers,
        rss_peak_mib=memory.peak_mib,
        rss_high_mib=peak_rss_mib(target.pid),
        tree_peak_mib=memory.tree_mib,
    )


def measure_flight(lab: Lab, peers: Sequence[Peer], scenario: Scenario) -> Part:
    """A fresh process for each, one after the other; nobody else is up."""
    part = Part()
    for peer in peers:
        try:
            with start(lab, peer, lab.slow_url) as target:
                part.ready_mib[peer.name] = rss_mib(target.pid) if target.pid else 0.0
                words = f"{scenario.name}: {peer.name}"
                take_turn(part, target, partial(measure, lab.bench, scenario=scenario), words, lab.bench.say)
        except BenchmarkError as error:
            part.fail(peer.name, error, lab.bench.say)
    return part
