"""Starting processes, waiting until they answer, and ending exactly those."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

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


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. What it says on stderr is appended to `log`."""

    args: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cores: frozenset[int] | None = None

    def __str__(self) -> str:
        return " ".join(self.args)


def start(command: Command, stdout: IO[bytes] | int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process with a session of its own, so that Ctrl-C reaches it only through us."""
    process = subprocess.Popen(
        command.args,
        env={**os.environ, **command.env},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    if command.cores is not None:
        os.sched_setaffinity(process.pid, command.cores)
    return process


@contextmanager
def running(command: Command) -> Iterator[subprocess.Popen[bytes]]:
    """A server, ended on leaving. What it prints goes to the log: nobody would empty a pipe."""
    with command.log.open("ab") as log:
        process = start(command, log, log)
        try:
            yield process
        finally:
            stop(process)


def capture(command: Command, *, timeout_s: float) -> str:
    """Run to the end and return what was printed. Raises BenchmarkError."""
    with command.log.open("ab") as log:
        process = start(command, subprocess.PIPE, log)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            reason = f"did not end in {timeout_s:.0f} s"
            raise BenchmarkError(f"`{command}` {reason}\n{tail(command.log)}") from None
        finally:
            stop(process)
    if process.returncode != 0:
        said = output[-LOG_TAIL_BYTES:].decode(errors="replace")
        raise BenchmarkError(f"`{command}` ended with {process.returncode}\n{tail(command.log)}{said}")
    return output.decode()


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL when that does not end it in time."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)


def wait_ready(
    process: subprocess.Popen[bytes],
    command: Command,
    port: int,
    path: str,
    *,
    timeout_s: float,
    every_s: float = POLL_S,
) -> None:
    """Until `path` answers 200. Raises BenchmarkError when the process ends or time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchmarkError(f"`{command}` ended with {process.returncode}\n{tail(command.log)}")
        if get_status(port, path) == 200:
            return
        time.sleep(every_s)
    raise BenchmarkError(f"`{command}` was not ready in {timeout_s:.0f} s\n{tail(command.log)}")


def get_status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def tail(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_answered(port: int) -> bool:
    """True when somebody listens there: what is measured would then be theirs."""
    with socket.socket() as caller:
        caller.settimeout(2)
        return caller.connect_ex(("127.0.0.1", port)) == 0


def stop_postgres_of(data_dir: Path) -> None:
    """End a PostgreSQL that a killed gateway left behind in `data_dir`, and no other."""
    for file in data_dir.rglob("postmaster.pid"):
        pid = read_pid(file)
        deadline = time.monotonic() + STOP_S
        while pid and is_running_in(pid, file.parent) and time.monotonic() < deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            time.sleep(POLL_S)


def read_pid(file: Path) -> int | None:
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def is_running_in(pid: int, folder: Path) -> bool:
    """True while process `pid` works in `folder`, so that a number used again is not mistaken for it."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        return False
