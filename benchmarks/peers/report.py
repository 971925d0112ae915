"""What was asked and what was found, as Markdown tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.peers.growth import Growth
from benchmarks.peers.measuring import FLIGHTS, HERD, LARGE_FLIGHT, MANY, SLOW, Part
from benchmarks.peers.ours import NAME
from benchmarks.peers.rivals import Peer
from benchmarks.peers.starting import Starts
from benchmarks.report import NOTHING, number, table
from benchmarks.scenarios import Sample

MB_PER_MIB = 1.048576
BEST = ("litellm", "litellm best")
Figure = Callable[[Sample], float]
Row = tuple[str, str, str, str]


@dataclass(slots=True)
class Results:
    """One run, filled part by part. A part that was not asked for is absent. unproven: what the ledger's proof said."""

    measured_on: str
    gateway: str
    settings: str
    machine: dict[str, str]
    peers: list[Peer]
    missing: dict[str, str]
    loads: dict[str, Part] = field(default_factory=dict)
    starts: Starts | None = None
    growth: Growth | None = None
    unproven: str = ""


def per_s(sample: Sample) -> float:
    return sample.load.requests_per_s


def p50(sample: Sample) -> float:
    return sample.load.p50_ms


def p99(sample: Sample) -> float:
    return sample.load.p99_ms


def peak_mb(part: Part, name: str) -> float | None:
    """The most of all turns, the children's memory included, in millions of bytes."""
    found = [sample.tree_peak_mib for sample in part.of(name) if sample.tree_peak_mib is not None]
    return MB_PER_MIB * max(found) if found else None


def alone_mb(part: Part, name: str) -> float | None:
    """The same of the process alone."""
    found = [sample.rss_peak_mib for sample in part.of(name) if sample.rss_peak_mib is not None]
    return MB_PER_MIB * max(found) if found else None


def middle(part: Part, name: str, figure: Figure) -> float | None:
    found = [figure(sample) for sample in part.of(name)]
    return median(found) if found else None


def ratio(part: Part, other: str, figure: Figure) -> float | None:
    """imagegate's figure by another's in the same turn, the median of the turns."""
    pairs = list(zip(part.of(NAME), part.of(other), strict=False))
    return median(figure(mine) / figure(theirs) for mine, theirs in pairs) if pairs else None


def added(part: Part, name: str, figure: Figure) -> float | None:
    """What somebody adds to the direct call of the same turn, the median of the turns."""
    pairs = list(zip(part.of(name), part.of("direct"), strict=False))
    return median(figure(mine) - figure(theirs) for mine, theirs in pairs) if pairs else None


def against_best(part: Part) -> tuple[str, float | None]:
    """LiteLLM's faster way, and the ratio to it."""
    found = {name: middle(part, name, per_s) or 0.0 for name in BEST}
    best = max(found, key=lambda name: found[name])
    return best, ratio(part, best, per_s) if found[best] else None


def compare(what: str, asked: str, found: float | None, at_least: bool, bound: float, form: str) -> Row:
    if found is None:
        return what, asked, "not measured", NOTHING
    met = found >= bound if at_least else found <= bound
    return what, asked, form.format(found), "yes" if met else "no"


def asked_rows(results: Results) -> Iterator[Row]:
    loads = results.loads
    if part := loads.get("small"):
        best, by = against_best(part)
        yield compare(f"small: × {best}", "≥ 20×", by, True, 20, "{:.1f}×")
        yield compare("small: × portkey", "≥ 2×", ratio(part, "portkey", per_s), True, 2, "{:.2f}×")
        yield compare("small: of nginx", "≥ 4 %", ratio(part, "nginx", per_s), True, 0.04, "{:.1%}")
    if part := loads.get("large"):
        best, by = against_best(part)
        yield compare(f"large: × {best}", "≥ 6×", by, True, 6, "{:.1f}×")
        yield compare("large: × nginx", "≥ 0.5×", ratio(part, "nginx", per_s), True, 0.5, "{:.2f}×")
        yield compare("large: peak memory", "≤ 250 MB", peak_mb(part, NAME), False, 250, "{:.0f} MB")
    if part := loads.get(LARGE_FLIGHT.name):
        yield compare("64 × 2 MB in flight", "≤ 280 MB", peak_mb(part, NAME), False, 280, "{:.0f} MB")
    if part := loads.get("latency"):
        yield compare("added at one caller, p50", "≤ 3 ms", added(part, NAME, p50), False, 3, "{:.2f} ms")
        yield compare("added at one caller, p99", "≤ 8 ms", added(part, NAME, p99), False, 8, "{:.2f} ms")
    yield from asked_of_flights(loads)
    yield from asked_of_starts(results)


def asked_of_flights(loads: dict[str, Part]) -> Iterator[Row]:
    if part := loads.get(SLOW.name):
        by = ratio(part, "direct", p50)
        words = "500 calls of 2 s: p50 above the upstream's"
        yield compare(words, "≤ 2 %", None if by is None else by - 1, False, 0.02, "{:.2%}")
        yield compare("500 calls of 2 s: memory", "≤ 200 MB", peak_mb(part, NAME), False, 200, "{:.0f} MB")
    if part := loads.get(HERD.name):
        by = ratio(part, "direct", p50)
        words = "the same 500 at the same moment: p50"
        yield compare(words, "≤ 2 %", None if by is None else by - 1, False, 0.02, "{:.2%}")
    if part := loads.get(MANY.name):
        yield compare(
            "2,000 calls in flight: memory", "≤ 450 MB", peak_mb(part, NAME), False, 450, "{:.0f} MB"
        )


def asked_of_starts(results: Results) -> Iterator[Row]:
    if starts := results.starts:
        yield compare("start to ready, database running", "≤ 1.5 s", starts.ready_s, False, 1.5, "{:.2f} s")
        words = "start to ready, with its own PostgreSQL"
        yield compare(words, "≤ 1.5 s", starts.embedded_s, False, 1.5, "{:.2f} s")
        yield compare("import imagegate.app", "≤ 0.8 s", starts.import_s, False, 0.8, "{:.2f} s")
    if growth := results.growth:
        words = f"{growth.rows:,} generations in the database: throughput"
        yield compare(words, "> −10 %", growth.change, True, -0.1, "{:+.1%}")


def render(results: Results) -> str:
    sections = [
        "# Results beside peers",
        f"{results.gateway}, measured on {results.measured_on}. {results.settings}\n"
        "What the figures mean, who does what, and how to repeat them: [README.md](README.md).",
        "\n".join(f"- {name}: {value}" for name, value in results.machine.items()),
        table(("what was asked of imagegate", "asked", "found", "met"), list(asked_rows(results))),
    ]
    titles = {"small": "64 at once, 6 KB answers", "large": "16 at once, 2 MB answers", "growth": "growth"}
    for name, title in titles.items():
        if part := results.loads.get(name):
            sections += [f"## {title[0].upper()}{title[1:]}", throughput(part, title)]
    if part := results.loads.get("latency"):
        sections += ["## Added latency, one caller", latency(part)]
    flights = [
        (flight.name, results.loads[flight.name]) for flight in FLIGHTS if flight.name in results.loads
    ]
    sections += ["## Calls in flight, a fresh process each", in_flight(flights)] if flights else []
    sections += ["## Who was measured", who(results), *not_run(results)]
    proven = "`imagegate ledger verify` passed at the end."
    sections += ["**`imagegate ledger verify` failed at the end.**" if results.unproven else proven]
    return "\n\n".join(sections) + "\n"


def throughput(part: Part, title: str) -> str:
    head = (
        title,
        "requests/s",
        "imagegate by it",
        "p50 ms",
        "p99 ms",
        "CPU ms each",
        "peak MB",
        "with children",
    )
    rows = []
    for name in names_of(part):
        own = part.of(name)
        cpu = [sample.cpu_ms_per_request for sample in own if sample.cpu_ms_per_request is not None]
        by = ratio(part, name, per_s)
        rows.append(
            (
                name,
                number(middle(part, name, per_s), 0),
                NOTHING if by is None else f"{by:.3g}×",
                number(middle(part, name, p50), 2),
                number(middle(part, name, p99), 2),
                number(median(cpu) if cpu else None, 3),
                number(alone_mb(part, name), 0),
                number(peak_mb(part, name), 0),
            )
        )
    return table(head, rows)


def latency(part: Part) -> str:
    head = ("one caller, upstream takes 50 ms", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms")
    return table(
        head,
        [
            (
                name,
                *(number(middle(part, name, figure), 2) for figure in (p50, p99)),
                *(number(added(part, name, figure), 2) for figure in (p50, p99)),
            )
            for name in names_of(part)
        ],
    )


def in_flight(flights: Sequence[tuple[str, Part]]) -> str:
    head = (
        "in flight",
        "who",
        "p50 ms",
        "p99 ms",
        "ready MB",
        "peak MB",
        "with children",
        "at the upstream at once",
    )
    rows = []
    for title, part in flights:
        for name in names_of(part):
            ready_mib = part.ready_mib.get(name)
            rows.append(
                (
                    title,
                    name,
                    number(middle(part, name, p50), 0),
                    number(middle(part, name, p99), 0),
                    number(MB_PER_MIB * ready_mib if ready_mib else None, 0),
                    number(alone_mb(part, name), 0),
                    number(peak_mb(part, name), 0),
                    str(max(sample.in_flight_peak for sample in part.of(name))),
                )
            )
    return table(head, rows)


def names_of(part: Part) -> list[str]:
    return list(dict.fromkeys(sample.target for sample in part.samples))


def who(results: Results) -> str:
    lines = []
    for peer in results.peers:
        name = f"{peer.name} {peer.version}".strip()
        lines.append(f"- {name}: {peer.does}" + (f" ({peer.note})" if peer.note else ""))
    return "\n".join(lines)


def not_run(results: Results) -> list[str]:
    """Who could not be had or could not do a part, each with its reason."""
    lines = [f"- {name}: not run. {reason}" for name, reason in results.missing.items()]
    lines += [
        f"- {name}, {part}: left out. {reason}"
        for part, found in results.loads.items()
        for name, reason in found.failed.items()
    ]
    return ["Not measured:\n\n" + "\n".join(lines)] if lines else []
