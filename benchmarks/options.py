"""The command line of a run."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.gateway import parse_command
from benchmarks.load import LOOPBACK
from benchmarks.scenarios import Target

PARTS = ("throughput", "latency", "large", "memory")
OURS = ("direct", "imagegate")
ENDING = "/images/generations"


@dataclass(frozen=True, slots=True)
class Options:
    seconds: float
    repeats: int
    parts: tuple[str, ...]
    demo: bool
    pin: bool
    command: tuple[str, ...]
    upstream_port: int
    peers: tuple[Target, ...]
    json_file: Path | None
    writes_results: bool


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="imagegate beside the same calls made directly."
    )
    add = parser.add_argument
    add("--seconds", type=float, default=5.0, help="how long each load is measured")
    add("--repeats", type=int, default=3, help="turns of which the median counts")
    add("--quick", action="store_true", help="one turn of one second: does it run at all")
    add("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    add("--demo", action="store_true", help="also time `imagegate demo --exit`, first and warm")
    add("--pin", action="store_true", help="the first core for the gateway, the others for the rest")
    add("--gateway-command", metavar="COMMAND", help="instead of this environment's `python -m imagegate`")
    add("--upstream-port", type=int, default=0, help="where peers find the upstream; 0: a free port")
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    add("--write-results", action="store_true", help="write benchmarks/RESULTS.md")
    add_peer_options(parser)
    return parser


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    for option, form, told in (
        ("--peer", "NAME=URL", "another gateway to measure, in front of the same upstream"),
        ("--peer-header", "'NAME=HEADER: VALUE'", "sent with every request to it; may be repeated"),
        ("--peer-model", "NAME=MODEL", "what it calls the model"),
        ("--peer-pid", "NAME=PID", "its process, to read memory and CPU time"),
    ):
        parser.add_argument(option, action="append", default=[], metavar=form, help=told)


def parse_options(arguments: Sequence[str]) -> Options:
    parser = build_parser()
    args = parser.parse_args(arguments)
    if not 0 <= args.upstream_port <= 65535:
        parser.error("--upstream-port is at most 65535")
    if args.seconds <= 0 or args.repeats < 1:
        parser.error("--seconds and --repeats are above zero")
    try:
        peers = read_peers(args.peer, args.peer_header, args.peer_model, args.peer_pid)
    except ValueError as error:
        parser.error(str(error))
    if peers and not args.upstream_port:
        parser.error("--peer needs --upstream-port, so that the peer can be pointed at it")
    return Options(
        seconds=1.0 if args.quick else args.seconds,
        repeats=1 if args.quick else args.repeats,
        parts=tuple(args.only) if args.only else PARTS,
        demo=args.demo,
        pin=args.pin,
        command=parse_command(args.gateway_command),
        upstream_port=args.upstream_port,
        peers=peers,
        json_file=args.json,
        writes_results=args.write_results,
    )


def read_peers(
    urls: Sequence[str], headers: Sequence[str], models: Sequence[str], pids: Sequence[str]
) -> tuple[Target, ...]:
    """Raises ValueError on a name that is taken or unknown, and on an address that is not loopback."""
    peers: dict[str, Target] = {}
    for name, url in map(split_named, urls):
        parts = urlsplit(url)
        if name in peers or name in OURS:
            raise ValueError(f"the name {name!r} is taken")
        if parts.scheme != "http" or parts.hostname not in LOOPBACK:
            raise ValueError(f"{url} is not http:// on loopback")
        peers[name] = Target(name, url if url.endswith(ENDING) else url.rstrip("/") + ENDING)
    for name, header in map(split_named, headers):
        peers[name] = replace(known(peers, name), headers=(*known(peers, name).headers, header))
    for name, model in map(split_named, models):
        peers[name] = replace(known(peers, name), model=model)
    for name, pid in map(split_named, pids):
        peers[name] = replace(known(peers, name), pid=int(pid))
    return tuple(peers.values())


def split_named(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value


def known(peers: Mapping[str, Target], name: str) -> Target:
    if name not in peers:
        raise ValueError(f"there is no --peer {name}=…")
    return peers[name]
