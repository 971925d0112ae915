"""How soon imagegate is there: its import, and its start over a database that has been used before."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.gateway import READY_S, Gateway, serving
from benchmarks.peers.ours import House
from benchmarks.processes import Command, capture, free_port, running, stop_postgres_of, wait_ready

TIMES = 5
EVERY_S = 0.005
IMPORT = "import time; began = time.perf_counter(); import imagegate.app; print(time.perf_counter() - began)"


@dataclass(frozen=True, slots=True)
class Starts:
    """Medians, in seconds. `embedded_s` includes the start of a PostgreSQL of its own."""

    import_s: float
    ready_s: float
    embedded_s: float


def measure_starts(house: House, folder: Path, cores: frozenset[int] | None) -> Starts:
    """Each a few times. The first start of either kind is not counted: it makes what a warm database has."""
    embedded = replace(house.gateway, env={}, folder=folder)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    try:
        with serving(embedded, cores=cores):
            pass
        ready_s = median(time_ready(house.gateway, cores) for _ in range(TIMES))
        embedded_s = median(time_ready(embedded, cores) for _ in range(TIMES))
    finally:
        stop_postgres_of(embedded.data_dir)
    return Starts(median(time_import(folder, cores) for _ in range(TIMES)), ready_s, embedded_s)


def time_ready(gateway: Gateway, cores: frozenset[int] | None) -> float:
    """From the start of the process to 200 of /readyz, asked every 5 ms."""
    port = free_port()
    command = gateway.to_command("serve", "--host", "127.0.0.1", "--port", str(port), cores=cores)
    began = perf_counter()
    with running(command) as process:
        wait_ready(process, command, port, "/readyz", timeout_s=READY_S, every_s=EVERY_S)
        return perf_counter() - began


def time_import(folder: Path, cores: frozenset[int] | None) -> float:
    command = Command((sys.executable, "-c", IMPORT), folder / "import.log", {}, cores)
    return float(capture(command, timeout_s=READY_S))
