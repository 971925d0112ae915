"""One command that installs peers where they can be had, and measures imagegate beside them. See ../README.md."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import describe_machine
from benchmarks.peers.growth import measure_growth
from benchmarks.peers.installing import Missing, Tool, install_all
from benchmarks.peers.measuring import (
    FLIGHTS,
    LARGE,
    LATENCY,
    SMALL,
    Fast,
    Lab,
    measure_fast,
    measure_flight,
    measure_latency,
)
from benchmarks.peers.nginx import answering
from benchmarks.peers.options import Options, parse_options
from benchmarks.peers.ours import House, describe_ours, furnish, opened, our_peer, prove
from benchmarks.peers.report import Results, render
from benchmarks.peers.rivals import DIRECT, Peer, litellm_peer, nginx_peer, portkey_peer
from benchmarks.peers.starting import measure_starts
from benchmarks.processes import BenchmarkError, choose_cores
from benchmarks.report import write_section
from benchmarks.run import interrupt, raise_file_limit, say, upstream
from benchmarks.scenarios import Bench
from imagegate.errors import OperatorError

BEST_ONLY = "litellm"
"""As pip installs it, it is measured by throughput alone: where it counts, it is measured at its best."""


def run(options: Options) -> Results:
    """Everything that was asked for. Raises BenchmarkError; leaves no process behind, and no file but the cache."""
    tools = install_all(options.cache, options.peers, say)
    cores = choose_cores(pin=options.pin)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(scratch()))
        machine = describe_machine(folder)
        if cores.others:
            # Upstream, load and the PostgreSQL of the run are children of this process.
            os.sched_setaffinity(0, cores.others)
        fast: Fast | None = None
        nginx, wrk = tools["nginx"], tools["wrk"]
        if isinstance(nginx, Tool) and isinstance(wrk, Tool):
            fast = Fast(stack.enter_context(answering(nginx, folder / "upstream", cores.others)), wrk)
        slow_port = stack.enter_context(upstream(0, folder, cores))
        bench = Bench(folder, slow_port, options.repeats, cores.others, say)
        lab = Lab(bench, cores, fast)
        database = stack.enter_context(opened(folder, say))
        house = furnish(database, "bench", folder / "bench", say)
        results = empty_results(options, lab, tools, machine, house)
        try:
            measure_parts(options, lab, results, house)
            if options.growth:
                measured = measure_growth(lab, database, house, options.growth, folder / "full")
                results.growth, results.loads["growth"] = measured
            say("ledger verify")
            prove(house)
        except (BenchmarkError, OperatorError) as error:
            # What was measured before is told all the same.
            results.unproven = str(error)
            say(f"The run is not whole: {error}")
    return results


@contextmanager
def scratch() -> Iterator[str]:
    """PostgreSQL refuses to be root; the other user it then runs as has to reach its folder."""
    with TemporaryDirectory(prefix="imagegate-peers-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield name


def peers_of(options: Options, tools: dict[str, Tool | Missing], house: House) -> list[Peer]:
    makers: dict[str, Callable[[Tool], Peer]] = {
        "nginx": nginx_peer,
        "portkey": portkey_peer,
        "litellm": partial(litellm_peer, "litellm"),
        "litellm best": partial(litellm_peer, "litellm best"),
    }
    found = [make(tool) for name, make in makers.items() if isinstance(tool := tools.get(name), Tool)]
    return [DIRECT, *(peer for peer in found if peer.name in options.peers), our_peer(house)]


def empty_results(
    options: Options, lab: Lab, tools: dict[str, Tool | Missing], machine: dict[str, str], house: House
) -> Results:
    told = f"wrk {lab.fast.wrk.version}, its upstream nginx" if lab.fast else "benchmarks.load and .upstream"
    turns = f"{options.repeats} turns" if options.repeats > 1 else "One turn"
    pinned = "gateways on the first core, everything else on the others" if options.pin else "not pinned"
    return Results(
        measured_on=datetime.now(UTC).date().isoformat(),
        gateway=describe_ours(),
        settings=f"{turns} of {options.seconds:g} s; {pinned}; load of throughput: {told}.",
        machine=machine,
        peers=peers_of(options, tools, house),
        missing={name: what.reason for name, what in tools.items() if isinstance(what, Missing)},
    )


def measure_parts(options: Options, lab: Lab, results: Results, house: House) -> None:
    timed = {
        "small": (measure_fast, replace(SMALL, seconds=options.seconds)),
        "large": (measure_fast, replace(LARGE, seconds=options.seconds)),
        "latency": (measure_latency, replace(LATENCY, seconds=options.latency_s)),
    }
    several = [peer for peer in results.peers if peer.name != BEST_ONLY]
    for part, (measure, scenario) in timed.items():
        if part in options.parts:
            results.loads[part] = measure(lab, several if part == "latency" else results.peers, scenario)
    if "flight" in options.parts:
        for scenario in FLIGHTS:
            results.loads[scenario.name] = measure_flight(lab, several, scenario)
    if "start" in options.parts:
        say("starting imagegate again and again")
        results.starts = measure_starts(house, lab.bench.folder / "embedded", lab.cores.gateway)


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
        options.json_file.write_text(json.dumps(to_json(results), indent=2) + "\n")
    text = render(results)
    print(text)
    if options.writes_results:
        write_section("peers", text)
    if results.unproven:
        sys.exit(1)


def to_json(results: Results) -> dict[str, object]:
    loads = {name: asdict(part) for name, part in results.loads.items()}
    versions = {peer.name: peer.version for peer in results.peers}
    told = {"measured_on": results.measured_on, "gateway": results.gateway, "settings": results.settings}
    return {
        **told,
        "machine": results.machine,
        "versions": versions,
        "missing": results.missing,
        "loads": loads,
    }


if __name__ == "__main__":
    main()
