"""Starting processes, waiting until they answer, and ending exactly those."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STOP_S = 20.0
POLL_S = 0.05
LOG_TAIL_BYTES = 2000


class BenchmarkError(Exception):
    """The run cannot go on, or its numbers would not mean what they say."""


@dataclass(frozen=True, slots=True)
class Cores:
    """What each part may run on; None leaves it to the kernel."""

    gateway: frozenset[int] | None = None
    others: frozenset[int] | None = None


def choose_cores(*, pin: bool) -> Cores:
    """The first core for the gateway, the rest for upstream and load. Raises BenchmarkError on one core."""
    if not pin:
        return Cores()
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise BenchmarkError("--pin needs two cores")
    return Cores(frozenset(available[:1]), frozenset(available[1:]))


@contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cores: frozenset[int] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a session of its own, so that Ctrl-C reaches it only through us; ended on leaving."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        if cores is not None:
            os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL when that does not end it in time."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
    if process.stdout:
        process.stdout.close()


def finish(process: subprocess.Popen[bytes], *, log: Path, timeout_s: float) -> str:
    """Wait for the end of a process and return what it printed. Raises BenchmarkError."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{named(process)} did not end in {timeout_s:.0f} s\n{tail(log)}") from None
    if process.returncode != 0:
        raise BenchmarkError(f"{named(process)} ended with {process.returncode}\n{tail(log)}")
    return output.decode()


def wait_ready(process: subprocess.Popen[bytes], port: int, path: str, *, log: Path, timeout_s: float) -> None:
    """Until `path` answers 200. Raises BenchmarkError when the process ends or time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchmarkError(f"{named(process)} ended with {process.returncode}\n{tail(log)}")
        if get_status(port, path) == 200:
            return
        time.sleep(POLL_S)
    raise BenchmarkError(f"{named(process)} was not ready in {timeout_s:.0f} s\n{tail(log)}")


def get_status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def named(process: subprocess.Popen[bytes]) -> str:
    args = process.args
    return " ".join(map(str, args)) if isinstance(args, list | tuple) else str(args)


def tail(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def stop_postgres_of(data_dir: Path) -> None:
    """End a PostgreSQL that a killed gateway left behind in `data_dir`, and no other."""
    for file in data_dir.rglob("postmaster.pid"):
        pid = int(file.read_text().split("\n", 1)[0])
        deadline = time.monotonic() + STOP_S
        while is_running_in(pid, file.parent) and time.monotonic() < deadline:
            os.kill(pid, signal.SIGINT)
            time.sleep(POLL_S)


def is_running_in(pid: int, folder: Path) -> bool:
    """True while process `pid` works in `folder`, so that a number used again is not mistaken for it."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        return False
