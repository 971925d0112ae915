"""imagegate under measurement: its account, key and wallet, its process, its books."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import (
    BenchmarkError,
    Command,
    capture,
    free_port,
    running,
    stop_postgres_of,
    wait_ready,
)

READY_S = 120.0
COMMAND_S = 120.0
TOKENS = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class Gateway:
    """The command, and where its data lies. `folder` exists; the gateway makes `data_dir` in it.

    env: further settings, which win.
    """

    command: tuple[str, ...]
    folder: Path
    upstream_port: int
    env: Mapping[str, str] = field(default_factory=dict)

    def over(self, base_url: str) -> "Gateway":
        """The same, with another upstream."""
        return replace(self, env={**self.env, "IMAGEGATE_OPENAI_BASE_URL": base_url})

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "gateway.log"

    @property
    def demo_dir(self) -> Path:
        return self.folder / "demo"

    def to_command(self, *verbs: str, cores: frozenset[int] | None = None) -> Command:
        return Command((*self.command, *verbs), self.log, self._env(self.data_dir), cores)

    def to_demo(self) -> Command:
        env = {**self._env(self.demo_dir), "IMAGEGATE_PORT": str(free_port())}
        return Command((*self.command, "demo", "--exit"), self.log, env)

    def _env(self, data_dir: Path) -> dict[str, str]:
        return {
            "IMAGEGATE_DATA_DIR": str(data_dir),
            "IMAGEGATE_OPENAI_BASE_URL": f"http://127.0.0.1:{self.upstream_port}/v1",
            "IMAGEGATE_OPENAI_API_KEY": "bench",
            "IMAGEGATE_LOG_LEVEL": "WARNING",
            **self.env,
        }


@dataclass(frozen=True, slots=True)
class Serving:
    """A gateway that answers."""

    port: int
    pid: int


def parse_command(text: str | None) -> tuple[str, ...]:
    """A command line of the user's, by default this environment's `python -m imagegate`."""
    return tuple(shlex.split(text)) if text else (sys.executable, "-m", "imagegate")


def run_command(gateway: Gateway, *verbs: str) -> str:
    """One CLI command on the gateway's data; what it printed. Raises BenchmarkError."""
    return capture(gateway.to_command(*verbs), timeout_s=COMMAND_S)


def create_key(gateway: Gateway) -> str:
    """An account with a key and a full wallet. Returns the key."""
    run_command(gateway, "accounts", "create", "bench", "--json")
    owner = ("--account", "bench", "--env", "live")
    printed = run_command(gateway, "keys", "create", *owner, "--json")
    reason = ("--tokens", str(TOKENS), "--reason", "bench")
    run_command(gateway, "wallets", "top-up", *owner, *reason, "--json")
    try:
        key = json.loads(printed)["key"]
    except (ValueError, KeyError, TypeError):
        raise BenchmarkError("keys create --json did not print an object with a `key`") from None
    return str(key)


@contextmanager
def serving(gateway: Gateway, *, cores: frozenset[int] | None) -> Iterator[Serving]:
    """A fresh process over the same data, ready. Its database ends with it."""
    port = free_port()
    command = gateway.to_command("serve", "--host", "127.0.0.1", "--port", str(port), cores=cores)
    with running(command) as process:
        wait_ready(process, command, port, "/readyz", timeout_s=READY_S)
        yield Serving(port, process.pid)


@contextmanager
def books(gateway: Gateway) -> Iterator[None]:
    """Whatever happens inside, no database of this gateway is left running."""
    try:
        yield
    finally:
        for data_dir in (gateway.data_dir, gateway.demo_dir):
            stop_postgres_of(data_dir)


def verify_ledger(gateway: Gateway) -> None:
    """Raises BenchmarkError when the ledger does not prove itself."""
    run_command(gateway, "ledger", "verify", "--json")


def time_demo(gateway: Gateway) -> tuple[float, float]:
    """Seconds of `demo --exit`: on an empty data directory, and again on the same."""
    first, warm = (time_once(gateway) for _ in range(2))
    return first, warm


def time_once(gateway: Gateway) -> float:
    command = gateway.to_demo()
    started = time.perf_counter()
    capture(command, timeout_s=COMMAND_S)
    return time.perf_counter() - started


def describe(command: Sequence[str]) -> str:
    """The version of this environment's imagegate and its commit, or the command as it was given."""
    if tuple(command) != parse_command(None):
        return shlex.join(command)
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    found = subprocess.run(git, capture_output=True, text=True, timeout=10, check=False)
    commit = f" ({found.stdout.strip()})" if found.returncode == 0 else ""
    return f"imagegate {version('imagegate')}{commit}"
