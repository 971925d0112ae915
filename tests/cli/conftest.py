"""The command as a subprocess, with a data directory of its own. Its embedded server is kept up between calls."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imagegate.db.embedded import EmbeddedPostgres
from tests.cli.forking import Forks
from tests.conftest import without_fsync

LONGEST_S = 60
SECRET = "tkVb4QmJ0sYw8eZr2LpXc6NfHd1GuAo3RiTy9KzM"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout, which must be one JSON value."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """`home`: the working directory; `environment` holds the IMAGEGATE_ variables of the test and no others.

    forks: where the command is run; None: as a program of its own.
    """

    home: Path
    environment: dict[str, str]
    forks: Forks | None = None

    def run(self, *args: str) -> Said:
        said = Said(*self.forks.run(args, self.home, self.environment)) if self.forks else self.start(*args)
        assert "Traceback" not in said.err, said.err
        return said

    def start(self, *args: str, python: tuple[str, ...] = ()) -> Said:
        """Run `python -m imagegate` from its very beginning."""
        done = subprocess.run(
            [sys.executable, *python, "-m", "imagegate", *args],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def json(self, *args: str) -> Any:
        said = self.run(*args, "--json")
        assert said.code == 0, said
        return said.json

    def refused(self, *args: str) -> dict[str, str]:
        """The error of a verb that fails, as JSON tells it."""
        said = self.run(*args, "--json")
        assert said.code == 1, said
        error: dict[str, str] = said.json["error"]
        return error

    def having(self, **variables: str) -> "Shell":
        return replace(self, environment={**self.environment, **variables})

    @property
    def data_dir(self) -> Path:
        return Path(self.environment["IMAGEGATE_DATA_DIR"])

    @contextmanager
    def serving(self, *args: str) -> Iterator["Running"]:
        """A verb that runs until it is told to stop, and that has answered in JSON that it is ready."""
        process = subprocess.Popen(
            [sys.executable, "-m", "imagegate", *args, "--json"],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield Running(process, read_json(process))
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


@dataclass(frozen=True)
class Running:
    process: "subprocess.Popen[str]"
    answer: Any

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LONGEST_S)


def read_json(process: "subprocess.Popen[str]") -> Any:
    """What the process prints, as soon as it is one whole value."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.rstrip() == "}":
            return json.loads("".join(lines))
    assert process.stderr is not None
    raise AssertionError(f"it ended: {process.stderr.read()}")


@contextmanager
def new_shell() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="igcli", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEGATE_")}
        yield Shell(home, {**kept, "IMAGEGATE_DATA_DIR": f"{folder}/data", "PYTHONWARNINGS": "error"})


@pytest.fixture(scope="package")
def shell() -> Iterator[Shell]:
    """Shared by the tests of the verbs; each makes accounts of its own."""
    with (
        new_shell() as shell,
        EmbeddedPostgres(shell.data_dir, lambda line: None) as server,
        Forks() as forks,
    ):
        without_fsync(server)
        yield replace(shell, forks=forks)


@pytest.fixture(scope="package")
def server(shell: Shell) -> Iterator[EmbeddedPostgres]:
    """The embedded server of `shell`, for databases beside its own."""
    with EmbeddedPostgres(shell.data_dir, lambda line: None) as server:
        yield server


def beside(shell: Shell, server: EmbeddedPostgres, name: str) -> Shell:
    """The same machine with a database of its own, named by URLs as an external one is; it has no tables yet."""
    owner, app = server.create_database(name)
    return shell.having(
        IMAGEGATE_DATABASE_URL=app,
        IMAGEGATE_DATABASE_DIRECT_URL=owner,
        IMAGEGATE_SECRET=SECRET,
        IMAGEGATE_DATA_DIR=str(shell.home.parent / name),
    )
