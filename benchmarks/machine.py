"""What the numbers were measured on."""

import os
import platform
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

PACKAGES = ("uvloop", "uvicorn", "starlette", "fastapi", "aiohttp", "asyncpg", "sqlalchemy", "pydantic")
SYNCS = 50
CALLS = 7


def describe_machine(folder: Path) -> dict[str, str]:
    """folder: where images will be stored; what a durable write costs there is part of the machine."""
    return {
        "CPU": f"{cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory_gib():.1f} GiB",
        "durable write": f"{sync_ms(folder):.2f} ms (4 KB and fsync, median of {SYNCS})",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "interpreter": f"{call_ns():.0f} ns to make a small object and call its method (best of {CALLS})",
        "packages": ", ".join(installed(PACKAGES)),
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**3


def sync_ms(folder: Path) -> float:
    file = folder / "sync"
    waits_ms = []
    with file.open("wb") as handle:
        for _ in range(SYNCS):
            started = time.perf_counter()
            handle.write(bytes(4096))
            handle.flush()
            os.fsync(handle.fileno())
            waits_ms.append(1000 * (time.perf_counter() - started))
    file.unlink()
    return median(waits_ms)


class Counter:
    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def next(self) -> int:
        return self.number + 1


def call_ns(number: int = 300_000) -> float:
    """How fast this build of the interpreter is on this machine: one built with profiles takes a third less."""
    best_s = float("inf")
    for _ in range(CALLS):
        started = time.perf_counter()
        for value in range(number):
            Counter(value).next()
        best_s = min(best_s, time.perf_counter() - started)
    return best_s / number * 1e9


def installed(names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
