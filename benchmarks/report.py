"""The results as Markdown tables, for the terminal and for RESULTS.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenarios import Sample, Summary

RESULTS = Path(__file__).parent / "RESULTS.md"
NOTHING = "–"
CHECKED = (
    "Every answer was 200, there was a call at the upstream for each, and those looked into held an image."
    " `imagegate ledger verify` passed at the end."
)
PINGS = (
    "`/healthz` is imagegate's, asked every 20 ms: the longest of all turns. In the row `direct` imagegate is"
    " idle, so it shows what the busy machine alone does to a ping."
)


@dataclass(frozen=True, slots=True)
class Memory:
    """One process over all turns: median after it became ready, and the most with the calls in flight."""

    target: str
    ready_mib: float
    in_flight_peak_mib: float
    in_flight: int


@dataclass(frozen=True, slots=True)
class Demo:
    first_s: float
    warm_s: float


@dataclass(frozen=True, slots=True)
class Results:
    """One run. A part that was not asked for is empty."""

    measured_on: str
    gateway: str
    settings: str
    machine: Mapping[str, str]
    summaries: Mapping[str, Sequence[Summary]]
    samples: Mapping[str, Sequence[Sample]]
    memory: Sequence[Memory]
    demo: Demo | None


def render(results: Results) -> str:
    sections = [
        "# Results",
        f"{results.gateway}, measured on {results.measured_on}. {results.settings}\n"
        "What the figures mean and how to repeat them: [README.md](README.md).",
        "\n".join(f"- {name}: {value}" for name, value in results.machine.items()),
    ]
    for part, write in SECTIONS.items():
        if part in results.summaries:
            sections += write(results.summaries[part])
    if results.memory:
        sections += memory_section(results.memory)
    if results.demo:
        sections += demo_section(results.demo)
    sections += [CHECKED]
    return "\n\n".join(sections) + "\n"


def throughput_section(summaries: Sequence[Summary]) -> list[str]:
    head = ("64 at once, 6 KB answers", "requests/s", "of direct", "p50 ms", "p99 ms", "CPU ms per request")
    rows = [
        (
            summary.target,
            f"{summary.requests_per_s:,.0f}",
            f"{summary.of_direct:.1%}",
            f"{summary.p50_ms:.2f}",
            f"{summary.p99_ms:.2f}",
            number(summary.cpu_ms_per_request, 3),
        )
        for summary in summaries
    ]
    return ["## Throughput", table(head, rows)]


def latency_section(summaries: Sequence[Summary]) -> list[str]:
    head = ("4 at once, upstream takes 50 ms", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms")
    rows = [
        (
            summary.target,
            f"{summary.p50_ms:.2f}",
            f"{summary.p99_ms:.2f}",
            f"{summary.added_p50_ms:.2f}",
            f"{summary.added_p99_ms:.2f}",
        )
        for summary in summaries
    ]
    return ["## Added latency", table(head, rows)]


def large_section(summaries: Sequence[Summary]) -> list[str]:
    head = (
        "16 at once, 2 MB answers",
        "requests/s",
        "of direct",
        "MB/s",
        "peak RSS MiB",
        "since start MiB",
        "/healthz p99 ms",
        "/healthz longest ms",
    )
    rows = [
        (
            summary.target,
            f"{summary.requests_per_s:,.0f}",
            f"{summary.of_direct:.1%}",
            f"{summary.mb_per_s:,.0f}",
            number(summary.rss_peak_mib, 0),
            number(summary.rss_high_mib, 0),
            number(summary.ping_p99_ms, 1),
            number(summary.ping_max_ms, 1),
        )
        for summary in summaries
    ]
    return ["## Large answers", table(head, rows), PINGS]


def memory_section(memories: Sequence[Memory]) -> list[str]:
    head = (
        "memory of the process",
        "when ready MiB",
        "peak in flight MiB",
        "calls in flight",
    )
    rows = [
        (memory.target, f"{memory.ready_mib:.0f}", f"{memory.in_flight_peak_mib:.0f}", str(memory.in_flight))
        for memory in memories
    ]
    return ["## Memory", table(head, rows)]


def demo_section(demo: Demo) -> list[str]:
    head = ("`imagegate demo --exit`", "seconds")
    rows = [("on an empty data directory", f"{demo.first_s:.1f}"), ("again", f"{demo.warm_s:.1f}")]
    return ["## First start", table(head, rows)]


SECTIONS = {"throughput": throughput_section, "latency": latency_section, "large": large_section}


def write_section(name: str, text: str, file: Path = RESULTS) -> None:
    """Put `text` in the place of what the same command wrote into `file` before, and nothing else."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    found = file.read_text() if file.exists() else ""
    before, begun, rest = found.partition(begin)
    after = rest.partition(end)[2] if begun else ""
    kept = before if begun or not before else before.rstrip() + "\n\n"
    file.write_text(f"{kept}{begin}\n{text}\n{end}{after}")


def number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Padded, so that it reads as well in a terminal."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    ruler = [f"{'-' * (width - 1)}{'-' if column == 0 else ':'}" for column, width in enumerate(widths)]
    return "\n".join(pad(row, widths) for row in (head, ruler, *rows))


def pad(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return f"| {' | '.join((first, *others))} |"
