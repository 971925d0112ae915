"""Gateways as processes of their own, quickly: forks of one process that has imported everything, and nothing more.

As a script: reads one JSON object a line (args, cwd, environment, out, err), starts the command, prints its process id.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LONGEST_S = 60.0
LOOK_EVERY_S = 0.005


@dataclass(frozen=True)
class Process:
    pid: int
    out: Path
    err: Path

    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    async def answer(self) -> Any:
        """What it prints, as soon as that is one whole JSON value."""
        async with asyncio.timeout(LONGEST_S):
            while True:
                alive, said = self.is_alive(), self.out.read_text() if self.out.exists() else ""
                if said.endswith("}\n"):
                    return json.loads(said)
                assert alive, f"it ended: {self.err.read_text()}"
                await asyncio.sleep(LOOK_EVERY_S)

    async def ended(self, within_s: float = LONGEST_S) -> None:
        async with asyncio.timeout(within_s):
            while self.is_alive():
                await asyncio.sleep(LOOK_EVERY_S)

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Nursery:
    """`async with Nursery(folder) as nursery:`; on leaving, whatever it started and still runs is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self._started: list[Process] = []
        self._talking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        argv = [sys.executable, "-m", "tests.line.crash_processes"]
        self._parent = await asyncio.create_subprocess_exec(*argv, cwd=Path(__file__).parents[2], **pipes)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            if process.is_alive():
                process.signal(signal.SIGKILL)
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        await self._parent.wait()

    async def start(self, *args: str, environment: Mapping[str, str]) -> Process:
        """Run `imagegate` with `args`; no other variable of ours reaches it."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        number = next(self._numbers)
        out, err = self._folder / f"{number}.out", self._folder / f"{number}.err"
        wanted = {"args": args, "cwd": str(self._folder), "environment": {**kept(), **environment}}
        async with self._talking:
            self._parent.stdin.write(
                json.dumps({**wanted, "out": str(out), "err": str(err)}).encode() + b"\n"
            )
            process = Process(int(await self._parent.stdout.readline()), out, err)
        self._started.append(process)
        return process


def kept() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("IMAGEGATE_")}


def bear() -> None:
    import asyncpg  # noqa: F401
    import httptools  # noqa: F401
    import uvloop  # noqa: F401

    import imagegate.admin.accounts
    import imagegate.cli.gateway
    import imagegate.cli.logs
    import imagegate.ledger.proof
    import imagegate.ledger.verify
    import imagegate.providers.openai
    import imagegate.services  # noqa: F401
    from tests.cli.forking import become

    # The kernel buries the children, so that a process id which is dead is seen to be dead.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(json.loads(line))
        print(child, flush=True)


if __name__ == "__main__":
    bear()
