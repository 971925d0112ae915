"""Looking at a process from outside while it is under load: its memory, its CPU time, how soon it answers."""

import http.client
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.load import percentile
from benchmarks.processes import BenchmarkError

MEMORY_EVERY_S = 0.05
PING_EVERY_S = 0.02
PING_TIMEOUT_S = 30.0
MIB = 1024 * 1024


def rss_mib(pid: int) -> float:
    """Resident memory of one process, without its children. 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def tree_rss_mib(pid: int) -> float:
    """Resident memory of one process and all below it. Pages they share count for each."""
    return rss_mib(pid) + sum(tree_rss_mib(child) for child in children_of(pid))


def children_of(pid: int) -> list[int]:
    """Empty when the process is gone."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, thread.read_text().split())
    return found


def peak_rss_mib(pid: int) -> float:
    """The kernel's own high-water mark since the process began."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """User and system time of all threads of one process, without its children. Raises BenchmarkError."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        raise BenchmarkError(f"there is no process {pid}") from None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class MemoryProbe:
    """The highest resident memory seen, sampled in a thread between enter and exit; `tree_mib` with its children."""

    def __init__(self, pid: int) -> None:
        self.peak_mib = self.tree_mib = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, rss_mib(self._pid))
            self.tree_mib = max(self.tree_mib, tree_rss_mib(self._pid))
            if self._over.wait(MEMORY_EVERY_S):
                return

    def __enter__(self) -> "MemoryProbe":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Pings:
    """How soon `GET /healthz` was answered. The longest wait bounds the longest block of the event loop."""

    count: int
    failed: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class HealthProbe:
    """One ping at a time, every 20 ms, from a thread; a late answer delays the next ping."""

    def __init__(self, port: int, path: str = "/healthz") -> None:
        self._address = port, path
        self._waits_ms: list[float] = []
        self._failed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ping, daemon=True)

    def _ping(self) -> None:
        port, path = self._address
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PING_TIMEOUT_S)
        while not self._over.is_set():
            started = time.perf_counter()
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                self._failed += answer.status != 200
            except (OSError, http.client.HTTPException):
                self._failed += 1
                connection.close()
            wait_s = time.perf_counter() - started
            self._waits_ms.append(1000 * wait_s)
            self._over.wait(max(0.0, PING_EVERY_S - wait_s))
        connection.close()

    def pings(self) -> Pings:
        ordered = sorted(self._waits_ms)
        p50, p99, longest = (percentile(ordered, percent) for percent in (50, 99, 100))
        return Pings(len(ordered), self._failed, p50, p99, longest)

    def __enter__(self) -> "HealthProbe":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
