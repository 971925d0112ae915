"""Programs that use the embedded PostgreSQL as processes of their own, and what can be seen of it from outside."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from imagegate.db.pgbinaries import psql_command
from imagegate.db.pgcluster import is_postmaster, read_pid

PATIENCE_S = 60
USER = """
import sys
from pathlib import Path
from imagegate.db.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), lambda line: None) as server:
    print(server.owner_url, flush=True)
    sys.stdin.readline()
"""
UPGRADER = """
import sys
from pathlib import Path
from imagegate.db.migrate import upgrade
upgrade(sys.argv[1], print, Path(sys.argv[2]))
"""


class Program:
    """A process that uses the server until it is told to leave."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._url = ""

    def url(self) -> str:
        """The owner's. Waits until the server is up."""
        assert self.process.stdout is not None
        self._url = self._url or self.process.stdout.readline().strip()
        return self._url

    def leave(self) -> int:
        self.process.communicate("\n", timeout=PATIENCE_S)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_S)


@contextmanager
def program(data_dir: Path) -> Iterator[Program]:
    running = Program(data_dir)
    try:
        yield running
    finally:
        running.kill()


def server_pid(data_dir: Path) -> int | None:
    pid = read_pid(data_dir / "pg" / "postmaster.pid")
    return pid if pid is not None and is_postmaster(pid, data_dir / "pg") else None


def wait_until(condition: Callable[[], object]) -> None:
    until = monotonic() + PATIENCE_S
    while not condition():
        assert monotonic() < until, "waited in vain"
        sleep(0.01)


def ask(url: str, sql: str) -> str:
    """psql's answer, bare."""
    argv, secret = psql_command(url)
    done = subprocess.run(
        [*argv, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql],
        env=os.environ | secret,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def holding(url: str, statement: str, end: str = "ROLLBACK") -> Iterator[None]:
    """Run `statement` in a transaction of another session, which stays open until we leave."""
    argv, secret = psql_command(url)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*argv, "-X", "-q"], env=os.environ | secret, **pipes)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"BEGIN;\n{statement};\n\\echo held\n")
    process.stdin.flush()
    assert process.stdout.readline().strip() == "held"
    try:
        yield
    finally:
        process.communicate(f"{end};\n", timeout=PATIENCE_S)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temp folder that every user may pass through; pytest's own are closed to PostgreSQL's user."""
    with tempfile.TemporaryDirectory(prefix="ig", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder).resolve()
