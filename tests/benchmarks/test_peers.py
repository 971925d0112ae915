"""What is said of peers is what was measured: who is compared with whom, and what is kept of a run."""

from pathlib import Path

from benchmarks.load import LoadReport
from benchmarks.peers.installing import InstallError, Missing, Tool, first_reason, install
from benchmarks.peers.measuring import Part, take_turn
from benchmarks.peers.report import Results, render
from benchmarks.processes import BenchmarkError
from benchmarks.report import write_section
from benchmarks.scenarios import Sample, Target


def sample(name: str, per_s: float, p50_ms: float = 1.0, tree_mib: float | None = None) -> Sample:
    load = LoadReport(100, 1.0, per_s, p50_ms, p50_ms, p50_ms, p50_ms, 0, 100, 100, {})
    return Sample(name, load, 100, 64, tree_peak_mib=tree_mib)


def results(**loads: Part) -> Results:
    return Results("2026-11-22", "imagegate", "", {}, [], {"portkey": "npm is not here"}, loads)


def row(text: str, words: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {words}"))


def test_a_ratio_is_taken_within_a_turn_and_against_the_better_of_two_ways() -> None:
    part = Part()
    for mine, plain, best in ((100, 10, 20), (300, 10, 30), (100, 10, 100)):
        for name, per_s in (("imagegate", mine), ("litellm", plain), ("litellm best", best)):
            part.samples.append(sample(name, per_s))

    text = render(results(small=part))

    assert "5.0×" in row(text, "small: × litellm best")
    assert row(text, "small: × litellm best").split("|")[-2].strip() == "no"


def test_memory_is_the_worst_turn_in_millions_of_bytes() -> None:
    part = Part([sample("imagegate", 1, tree_mib=mib) for mib in (100.0, 250.0, 120.0)])

    text = render(results(large=part))

    assert "262 MB" in row(text, "large: peak memory")
    assert row(text, "large: peak memory").split("|")[-2].strip() == "no"


def test_who_was_not_measured_is_named_with_its_reason() -> None:
    part = Part([sample("imagegate", 1)])

    def refuse(target: Target) -> Sample:
        raise BenchmarkError("3 × 500")

    take_turn(part, Target("nginx", ""), refuse, "small", lambda _: None)
    text = render(results(small=part))

    assert "- portkey: not run. npm is not here" in text
    assert "- nginx, small: left out. 3 × 500" in text
    assert "not measured" in row(text, "small: of nginx")


def test_an_address_of_a_package_index_is_not_repeated() -> None:
    said = "WARNING: see below\nERROR: No match at https://index.internal/simple/x/ for x\n"

    assert first_reason(said) == "ERROR: No match at … for x"


def test_what_was_installed_is_used_again_and_what_failed_is_tried_anew(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> Tool:
        made.append(folder)
        if len(made) == 1:
            raise InstallError("the first time fails")
        return Tool(("program",), "1.0", "a note", {"NAME": "value"})

    found = [install(make, tmp_path / "peer") for _ in range(3)]

    assert found[0] == Missing("the first time fails")
    assert found[1] == found[2] == Tool(("program",), "1.0", "a note", {"NAME": "value"})
    assert len(made) == 2


def test_a_command_replaces_its_own_results_only(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    write_section("direct", "old\n", file)
    write_section("peers", "beside\n", file)

    write_section("direct", "new\n", file)

    assert file.read_text() == (
        "<!-- begin direct -->\n\nnew\n\n<!-- end direct -->\n\n<!-- begin peers -->\n\nbeside\n\n<!-- end peers -->\n"
    )
