"""The command line of a run beside peers."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.installing import default_cache

PARTS = ("small", "large", "latency", "flight", "start")
GROWTH = "growth"
PEERS = ("nginx", "portkey", "litellm", "litellm best")
GROWTH_ROWS = 10_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """growth: how many generations are written for the part that looks at growth; 0 leaves it out."""

    seconds: float
    latency_s: float
    repeats: int
    parts: tuple[str, ...]
    peers: tuple[str, ...]
    growth: int
    cache: Path
    pin: bool
    json_file: Path | None
    writes_results: bool


def parse_options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="imagegate beside other gateways, installed and run on this machine.",
    )
    add = parser.add_argument
    add("--seconds", type=float, default=5.0, help="how long each throughput is measured, in whole seconds")
    add("--latency-seconds", type=float, default=20.0, help="how long each latency is measured")
    add("--repeats", type=int, default=3, help="turns of which the median counts")
    add("--quick", action="store_true", help="one turn of a second: does it run at all")
    add("--only", action="append", choices=(*PARTS, GROWTH), help="only this part; may be repeated")
    add("--peer", action="append", choices=PEERS, help="only this peer; may be repeated")
    add(
        "--no-peers",
        action="store_true",
        help="imagegate and the direct call alone; installs nothing but tools",
    )
    growth_told = f"also with so many generations in the database, {GROWTH_ROWS:,} if not said; takes an hour"
    add("--growth", type=int, nargs="?", const=GROWTH_ROWS, default=0, metavar="ROWS", help=growth_told)
    add("--cache", type=Path, default=default_cache(), help="where peers are installed")
    add("--no-pin", action="store_true", help="leave the cores to the kernel")
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    add("--write-results", action="store_true", help="write benchmarks/RESULTS.md")
    args = parser.parse_args(arguments)
    if args.seconds < 1 or args.latency_seconds <= 0 or args.repeats < 1 or args.growth < 0:
        parser.error("--seconds and --repeats are at least 1")
    chosen = tuple(args.only or PARTS)
    growth = args.growth or (GROWTH_ROWS if GROWTH in chosen else 0)
    return Options(
        seconds=1.0 if args.quick else args.seconds,
        latency_s=2.0 if args.quick else args.latency_seconds,
        repeats=1 if args.quick else args.repeats,
        parts=tuple(part for part in chosen if part != GROWTH),
        peers=() if args.no_peers else tuple(args.peer or PEERS),
        growth=growth,
        cache=args.cache.resolve(),
        pin=not args.no_pin,
        json_file=args.json,
        writes_results=args.write_results,
    )
