"""The command as a subprocess, with a database and a data directory of its own."""

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
from imagegate.db.migrate import upgrade
from tests.cli.forking import Fork, Forks
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
        assert self.forks is not None
        process = self.forks.start((*args, "--json"), self.home, self.environment)
        try:
            yield Running(process, read_json(process))
        finally:
            if process.poll() is None:
                process.kill()
            process.close()


@dataclass(frozen=True)
class Running:
    process: Fork
    answer: Any

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LONGEST_S)


def read_json(process: Fork) -> Any:
    """What the process prints, as soon as it is one whole value."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.rstrip() == "}":
            return json.loads("".join(lines))
    raise AssertionError(f"it ended: {process.stderr.read()}")


@contextmanager
def new_shell() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="igcli", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEGATE_")}
        yield Shell(home, {**kept, "IMAGEGATE_DATA_DIR": f"{folder}/data", "PYTHONWARNINGS": "error"})


@pytest.fixture(scope="session")
def shell(postgres: EmbeddedPostgres) -> Iterator[Shell]:
    """Shared by the tests of the verbs; each makes accounts of its own. On the server that all tests share."""
    with new_shell() as alone, Forks() as forks:
        shell = beside(replace(alone, forks=forks), postgres, "shell")
        upgrade(shell.environment["IMAGEGATE_DATABASE_DIRECT_URL"], lambda line: None)
        yield shell


@pytest.fixture(scope="session")
def server(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """For databases beside the shell's own."""
    return postgres


@pytest.fixture
def embedded(shell: Shell) -> Iterator[Shell]:
    """A machine with nothing configured: its database is a server of its own, kept up between calls."""
    with new_shell() as alone, EmbeddedPostgres(alone.data_dir, lambda line: None) as server:
        without_fsync(server)
        yield replace(alone, forks=shell.forks)


def beside(shell: Shell, server: EmbeddedPostgres, name: str) -> Shell:
    """The same machine with a database of its own, named by URLs as an external one is; it has no tables yet."""
    owner, app = server.create_database(f"cli_{name}")
    return shell.having(
        IMAGEGATE_DATABASE_URL=app,
        IMAGEGATE_DATABASE_DIRECT_URL=owner,
        IMAGEGATE_SECRET=SECRET,
        IMAGEGATE_DATA_DIR=str(shell.home.parent / name),
    )
