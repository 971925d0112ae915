"""Runs the command in forks of one process that is warm (imports, catalogue, verbs): whole, without the slow start.

As a script: reads one JSON object a line (args, cwd, environment, out, err), runs it, prints its exit code.
"""

import gc
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self


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
        wanted = {"args": args, "cwd": str(cwd), "environment": environment, "out": str(out), "err": str(err)}
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(wanted) + "\n")
        self._parent.stdin.flush()
        code = int(self._parent.stdout.readline())
        return code, out.read_text(), err.read_text()


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

    load_catalogue()
    command()
    gc.collect()
    gc.freeze()  # a fork that looks through what was there before copies every page of it
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve_forks()
