"""Runs the command in forks of one process that is warm (imports, catalogue, verbs): whole, without the slow start.

As a script: reads one JSON object a line (args, cwd, environment, out, err), runs it, prints its exit code; with `stay`
it prints the pid at once, and the exit code is asked for by `wait` (a pid) and `block`: RUNNING where it has not ended.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self, TextIO
from uuid import uuid4

RUNNING = 1_000
"""No exit code."""


class Forks:
    def __enter__(self) -> Self:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forking"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parent.communicate()

    def run(self, args: tuple[str, ...], cwd: Path, environment: dict[str, str]) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        out, err = cwd.parent / "out.txt", cwd.parent / "err.txt"
        code = self._ask(args=args, cwd=str(cwd), environment=environment, out=str(out), err=str(err))
        return code, out.read_text(), err.read_text()

    def start(self, args: tuple[str, ...], cwd: Path, environment: dict[str, str]) -> "Fork":
        """A command that runs until it is told to stop."""
        pipes = [cwd.parent / f"{name}-{uuid4().hex}" for name in ("out", "err")]
        for pipe in pipes:
            os.mkfifo(pipe)
        readers = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for pipe in pipes]
        wanted = {"args": args, "cwd": str(cwd), "environment": environment}
        pid = self._ask(**wanted, out=str(pipes[0]), err=str(pipes[1]), stay=True)
        for reader in readers:
            os.set_blocking(reader, True)
        return Fork(pid, self, *(open(reader) for reader in readers))

    def ended(self, pid: int, *, block: bool) -> int | None:
        code = self._ask(wait=pid, block=block)
        return None if code == RUNNING else code

    def _ask(self, **wanted: Any) -> int:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(wanted) + "\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())


@dataclass
class Fork:
    """What tests use of a process."""

    pid: int
    forks: Forks
    stdout: TextIO
    stderr: TextIO
    code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self.forks.ended(self.pid, block=False)
        return self.code

    def wait(self, timeout: float) -> int:
        until = monotonic() + timeout
        while (code := self.poll()) is None:
            assert monotonic() < until, "it does not end"
            sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait(10)

    def close(self) -> None:
        self.stdout.close()
        self.stderr.close()


def become(wanted: dict[str, Any]) -> None:
    """Turn this fork into the command, and end with its exit code."""
    from imagegate.cli import main

    code: Any = 1
    try:
        os.chdir(wanted["cwd"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        for number, name in ((0, os.devnull), (1, wanted["out"]), (2, wanted["err"])):
            mode = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, mode, 0o600), number)
        sys.argv = ["imagegate", *wanted["args"]]
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve_forks() -> None:
    import imagegate.admin.accounts
    import imagegate.admin.allowances
    import imagegate.admin.audit
    import imagegate.admin.limits
    import imagegate.admin.operators
    import imagegate.admin.prices
    import imagegate.admin.wallets
    import imagegate.cli.gateway
    import imagegate.cli.logs
    import imagegate.ledger.proof
    import imagegate.registry
    import imagegate.services  # noqa: F401
    from imagegate.catalogue.catalogue import load_catalogue
    from imagegate.cli import command

    for provider in load_catalogue().providers.values():
        import_module(provider.adapter.partition(":")[0])
    command()
    gc.collect()
    gc.freeze()  # a fork that looks through what was there before copies every page of it
    for line in sys.stdin:
        print(serve(json.loads(line)), flush=True)


def serve(wanted: dict[str, Any]) -> int:
    if "wait" in wanted:
        pid, status = os.waitpid(wanted["wait"], 0 if wanted["block"] else os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else RUNNING
    stays = "stay" in wanted
    # Open before its pid is told: a pipe without a writer would seem to have ended.
    writers = [os.open(wanted[name], os.O_WRONLY) for name in ("out", "err")] if stays else []
    if (child := os.fork()) == 0:
        become(wanted)
    for writer in writers:
        os.close(writer)
    if stays:
        return child
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    serve_forks()
