"""PgBouncer on loopback in transaction mode, before a database of the embedded server, under PostgreSQL's own user."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url
from tests.db.programs import ask, open_folder, wait_until

from imagegate.db.pgbinaries import choose_account, start

PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
INI = """
[databases]
{database} = host={server} port={port} dbname={database}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
admin_users = {user}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
logfile = {folder}/log
pidfile = {folder}/pid
"""


def find_program() -> str:
    """Skips the test where there is none."""
    return shutil.which("pgbouncer", path=PLACES) or pytest.skip("no pgbouncer here (Debian: pgbouncer)")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Bouncer:
    """url: of `server_url`'s role and database, through the pooler. size: its connections to the server."""

    def __init__(self, folder: Path, server_url: str, size: int) -> None:
        self._program, self._folder = find_program(), folder
        self._account = choose_account(folder / "none")
        server = make_url(server_url)
        port = free_port()
        self._url = server.set(host="127.0.0.1", port=port).difference_update_query(["host", "port"])
        assert server.password is not None
        values = {"server": server.query["host"], "port": server.query["port"], "user": server.username}
        ini = INI.format(database=server.database, listen=port, folder=folder, size=size, **values)
        for name, content in (("ini", ini), ("users", f'"{server.username}" "{server.password}"\n')):
            (folder / name).write_text(content)
            self._hand_over(folder / name, 0o600)
        self._hand_over(folder, 0o700)

    def _hand_over(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        if self._account.switch:
            os.chown(path, self._account.uid, self._account.gid)

    @property
    def url(self) -> str:
        return render(self._url)

    def start(self) -> None:
        argv = [self._program, "-q", str(self._folder / "ini")]
        self._process = start(self._account, argv, subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._url.port or 0), 1):
            return True
        return False

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """At once: whoever was in a transaction is cut off."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)

    def shown(self, what: str) -> list[list[str]]:
        """The rows of one of the admin console's SHOW commands."""
        told = ask(render(self._url.set(database="pgbouncer")), f"SHOW {what}")
        return [line.split("|") for line in told.splitlines()]


def render(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextmanager
def bouncing(server_url: str, size: int) -> Iterator[Bouncer]:
    with open_folder() as folder:
        bouncer = Bouncer(folder, server_url, size)
        bouncer.start()
        try:
            yield bouncer
        finally:
            bouncer.stop()
