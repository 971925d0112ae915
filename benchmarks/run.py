"""One command that measures imagegate beside the same calls made directly. See README.md."""

import json
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.gateway import (
    Gateway,
    books,
    create_key,
    describe,
    serving,
    time_demo,
    verify_ledger,
)
from benchmarks.machine import describe_machine
from benchmarks.options import ENDING, Options, parse_options
from benchmarks.probes import rss_mib
from benchmarks.processes import (
    BenchmarkError,
    Command,
    Cores,
    choose_cores,
    free_port,
    is_answered,
    running,
    wait_ready,
)
from benchmarks.report import Demo, Memory, Results, render, write_section
from benchmarks.scenarios import ROOT, Bench, Sample, Scenario, Target, alternate, measure, summarise

UPSTREAM_READY_S = 30.0
IN_FLIGHT = 500
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Run:
    """What is open during a run."""

    options: Options
    bench: Bench
    gateway: Gateway
    cores: Cores
    key: str

    def direct(self) -> Target:
        return Target("direct", f"http://127.0.0.1:{self.bench.upstream_port}/v1{ENDING}")

    @contextmanager
    def fresh(self) -> Iterator[Target]:
        """A gateway process that nobody has asked anything yet."""
        with serving(self.gateway, cores=self.cores.gateway) as served:
            url = f"http://127.0.0.1:{served.port}/v1{ENDING}"
            authorization = f"authorization: Bearer {self.key}"
            yield Target("imagegate", url, (authorization,), pid=served.pid, pinged=served.port)


def run(options: Options) -> Results:
    """Everything that was asked for. Raises BenchmarkError; leaves no process and no file behind."""
    cores = choose_cores(pin=options.pin)
    with TemporaryDirectory(prefix="imagegate-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # PostgreSQL refuses to be root; the other user it then runs as has to reach the data directory.
        folder.chmod(0o755)
        machine = describe_machine(folder)
        with upstream(options.upstream_port, folder, cores) as port:
            gateway = Gateway(options.command, folder, port)
            bench = Bench(folder, port, options.repeats, cores.others, say)
            with books(gateway):
                say(f"upstream on port {port}; making an account, a key and a wallet")
                started = Run(options, bench, gateway, cores, create_key(gateway))
                return run_parts(started, machine)


@contextmanager
def upstream(wanted_port: int, folder: Path, cores: Cores) -> Iterator[int]:
    """The upstream that can wait. wanted_port: 0 takes a free one."""
    port = wanted_port or free_port()
    if is_answered(port):
        raise BenchmarkError(f"something answers on port {port} already")
    args = (sys.executable, "-m", "benchmarks.upstream", "--port", str(port))
    command = Command(args, folder / "upstream.log", {"PYTHONPATH": str(ROOT)}, cores.others)
    with running(command) as process:
        wait_ready(process, command, port, "/v1/models", timeout_s=UPSTREAM_READY_S)
        yield port


def run_parts(started: Run, machine: dict[str, str]) -> Results:
    options = started.options
    samples = measure_loads(started)
    memory = measure_memory(started) if "memory" in options.parts else []
    say("ledger verify")
    verify_ledger(started.gateway)
    demo = Demo(*time_demo(started.gateway)) if options.demo else None
    turns = f"{options.repeats} turns" if options.repeats > 1 else "one turn"
    pinned = ", gateway pinned to the first core" if options.pin else ""
    return Results(
        measured_on=datetime.now(UTC).date().isoformat(),
        gateway=describe(options.command),
        settings=f"Medians of {turns} of {options.seconds:g} s{pinned}; upstream and load share the machine.",
        machine=machine,
        summaries={part: summarise(found, "direct") for part, found in samples.items()},
        samples=samples,
        memory=memory,
        demo=demo,
    )


def measure_loads(started: Run) -> dict[str, list[Sample]]:
    """Throughput and latency on one gateway process, large answers on a fresh one."""
    options, seconds = started.options, started.options.seconds
    small = {
        "throughput": Scenario("throughput", "small", 0, 64, seconds),
        # Four callers over 50 ms are 80 answers a second: longer, for a p99 that means something.
        "latency": Scenario("latency", "small", 50, 4, 2 * seconds),
    }
    large = {"large": Scenario("large", "large", 0, 16, seconds)}
    samples: dict[str, list[Sample]] = {}
    for group in (small, large):
        wanted = [part for part in group if part in options.parts]
        if not wanted:
            continue
        with started.fresh() as imagegate:
            pinged = imagegate.pinged if group is large else None
            ours = replace(started.direct(), pinged=pinged), replace(imagegate, pinged=pinged)
            for part in wanted:
                samples[part] = alternate(started.bench, (*ours, *options.peers), group[part])
    return samples


def measure_memory(started: Run) -> list[Memory]:
    """A fresh process each turn; then the peers whose process is known, as they are found."""
    found: list[tuple[float, Sample]] = []
    for _ in range(started.options.repeats):
        with started.fresh() as imagegate:
            found.append(measure_in_flight(started.bench, replace(imagegate, pinged=None)))
    memories = [summarise_memory(found)]
    for peer in started.options.peers:
        if peer.pid:
            memories.append(summarise_memory([measure_in_flight(started.bench, peer)]))
    return memories


def measure_in_flight(bench: Bench, target: Target) -> tuple[float, Sample]:
    """MiB before, and the sample of a few rounds of calls that all wait for a slow upstream."""
    ready_mib = rss_mib(target.pid) if target.pid else 0.0
    scenario = Scenario("memory", "small", 2000, IN_FLIGHT, seconds=60.0, count=IN_FLIGHT * ROUNDS)
    sample = measure(bench, target, scenario)
    bench.say(f"memory: {target.name}: {ready_mib:.0f} MiB ready, {sample.rss_peak_mib:.0f} MiB in flight")
    return ready_mib, sample


def summarise_memory(found: Sequence[tuple[float, Sample]]) -> Memory:
    return Memory(
        target=found[0][1].target,
        ready_mib=median(ready_mib for ready_mib, _ in found),
        in_flight_peak_mib=max(sample.rss_peak_mib or 0.0 for _, sample in found),
        in_flight=min(sample.in_flight_peak for _, sample in found),
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def interrupt(number: int, frame: object) -> None:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: through every `finally`."""
    raise KeyboardInterrupt


def raise_file_limit() -> None:
    """500 calls in flight are 1,000 sockets of the gateway, which inherits this limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    options = parse_options(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    raise_file_limit()
    try:
        results = run(options)
    except BenchmarkError as error:
        sys.exit(f"The run failed: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if options.json_file:
        options.json_file.write_text(json.dumps(asdict(results), indent=2) + "\n")
    text = render(results)
    print(text)
    if options.writes_results:
        write_section("direct", text)


if __name__ == "__main__":
    main()
