"""The embedded PostgreSQL: every process of one data directory shares it, and the last one stops it."""

import fcntl
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.engine import URL

from imagegate.db.pgbinaries import (
    Answer,
    Installation,
    choose_account,
    find_installation,
    is_answering,
    last_lines,
    make_usable,
    psql_command,
    render,
    start,
)
from imagegate.db.pgcluster import (
    APP,
    DATABASE,
    OWNER,
    PORT,
    SOCKET,
    Cluster,
    check_pgdata,
    choose_folder,
    clear_foreign_locks,
    is_postmaster,
    make_cluster,
    open_data_dir,
    read_lines,
    read_passwords,
)
from imagegate.errors import OperatorError

LONGEST_START_S = 600.0
LONGEST_STOP_S = 60.0
LONGEST_LEFTOVER_S = 30.0
WORD_EVERY_S = 3.0
POLL_S = 0.02
LARGEST_LOG_BYTES = 16 * 1024 * 1024
STILL_THERE = "pre-existing shared memory block"


class EmbeddedPostgres:
    """`with EmbeddedPostgres(data_dir, say) as server:`. Blocks, so enter it before the loop or in a thread.

    No process owns the server. Each holds a shared lock on `pg.users` for its life; starting and stopping
    happen under an exclusive lock on `pg.start`; whoever leaves and gets `pg.users` for itself was the last.
    The kernel drops the locks of a killed process, and the next one adopts the server it left.
    """

    sole_user: bool
    """True when no other process used this data directory as this one came."""

    def __init__(
        self, data_dir: Path, say: Callable[[str], None], installation: Installation | None = None
    ) -> None:
        self._path = data_dir
        self._say = say
        self._installation = installation
        self._users: int | None = None

    def __enter__(self) -> Self:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            raise OperatorError(
                "The embedded PostgreSQL is refused under Kubernetes, where a pod and its disk come and go. "
                "Set IMAGEGATE_DATABASE_URL."
            )
        self._data_dir = open_data_dir(self._path)
        users = open_lock(self._data_dir / "pg.users")
        try:
            with self._alone():
                self.sole_user = try_lock(users)
                fcntl.flock(users, fcntl.LOCK_SH)
                self._prepare()
                try:
                    self._bring_up()
                except BaseException:
                    self._stop_if_last(users)
                    raise
        except BaseException:
            os.close(users)
            raise
        self._users = users
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave, once; a second call does nothing."""
        if self._users is None:
            return
        try:
            with self._alone():
                self._stop_if_last(self._users)
        finally:
            os.close(self._users)
            self._users = None

    @property
    def owner_url(self) -> str:
        return self._url(OWNER, DATABASE)

    @property
    def app_url(self) -> str:
        return self._url(APP, DATABASE)

    def is_running(self) -> bool:
        """Whether the server's process lives and its socket is there. Two small reads; says nothing of its health."""
        return self._cluster.postmaster() is not None and (self._socket_dir / SOCKET).exists()

    def ensure_running(self) -> None:
        """Start the server again if it is gone. Blocks until it answers; raises OperatorError."""
        with self._alone():
            self._bring_up()

    def create_database(self, name: str, template: str | None = None) -> tuple[str, str]:
        """Make a database, empty or like `template` (nobody connected). Gives the owner's and the app's URL."""
        for word in (name, template or DATABASE):
            if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", word):
                raise ValueError(f"not a plain database name: {word!r}")
        statement = f"CREATE DATABASE {name} OWNER {OWNER}" + (f" TEMPLATE {template}" if template else "")
        argv, secret = psql_command(self._url(OWNER, "postgres"))
        done = subprocess.run(
            [*argv, "-X", "-q", "-c", statement], env=os.environ | secret, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise OperatorError(f"The database {name} cannot be made: {last_lines(done.stderr)}")
        return self._url(OWNER, name), self._url(APP, name)

    def _url(self, role: str, database: str) -> str:
        where = {"host": str(self._socket_dir), "port": str(PORT)}
        return render(URL.create("postgresql", role, self._passwords[role], database=database, query=where))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold `pg.start`: nobody else starts or stops the server meanwhile."""
        lock = open_lock(self._data_dir / "pg.start")
        began = word_at = time.monotonic()
        try:
            while not try_lock(lock):
                if (now := time.monotonic()) > began + LONGEST_START_S:
                    raise OperatorError(
                        f"Another process has been starting or stopping {self._data_dir} for too long."
                    )
                if now > word_at + WORD_EVERY_S:
                    word_at = now
                    self._say("Waiting for another process that starts or stops the database …")
                time.sleep(POLL_S)
            yield
        finally:
            os.close(lock)

    def _prepare(self) -> None:
        try:
            folder = choose_folder(self._data_dir, self._say)
            account = choose_account(folder / "pg")
            found = self._installation or find_installation()
            usable = make_usable(found, account, folder, self._say)
            self._cluster = Cluster(self._data_dir, folder, account, usable)
            self._passwords = read_passwords(self._cluster)
            if not self._cluster.pgdata.exists():
                self._say(f"Making a PostgreSQL database in {self._cluster.pgdata}.")
                make_cluster(self._cluster, self._passwords)
            check_pgdata(self._cluster)
        except OSError as error:
            raise OperatorError(f"The database in {self._data_dir} cannot be prepared: {error}") from error

    def _bring_up(self) -> None:
        """Launch the server if nothing answers, and wait by connecting: a crash recovery may be long."""
        began = word_at = time.monotonic()
        child: subprocess.Popen[bytes] | None = None
        said_from = 0
        while (answer := self._ask()) is not Answer.READY:
            now = time.monotonic()
            if answer is Answer.SILENT and self._cluster.postmaster() is None and has_ended(child):
                self._check_ended(child, said_from, now - began)
                said_from, child = self._launch()
            elif answer is Answer.SILENT and self._lost_its_socket():
                self._say("PostgreSQL's socket is gone: starting it again.")
                self._stop()
            if now > began + LONGEST_START_S:
                raise OperatorError(
                    f"PostgreSQL is not ready after {LONGEST_START_S:.0f} s; see {self._cluster.log}."
                )
            if now > word_at + WORD_EVERY_S:
                word_at = now
                self._say(
                    f"Waiting for PostgreSQL, which may be recovering from a crash ({now - began:.0f} s) …"
                )
            time.sleep(POLL_S)

    def _ask(self) -> Answer:
        self._socket_dir = self._cluster.socket_dir()
        return is_answering(self._cluster.installation, self._socket_dir, PORT)

    def _check_ended(self, child: subprocess.Popen[bytes] | None, said_from: int, waited_s: float) -> None:
        """A killed server's backends live on for a moment; every other failed start is final."""
        if child is None:
            return
        said = self._cluster.log.read_bytes()[said_from:].decode(errors="replace")
        if STILL_THERE not in said or waited_s > LONGEST_LEFTOVER_S:
            raise OperatorError(
                f"PostgreSQL does not start. {self._cluster.log} ends with:\n{last_lines(said)}"
            )

    def _lost_its_socket(self) -> bool:
        lines = read_lines(self._cluster.pgdata / "postmaster.pid")
        return len(lines) > 7 and lines[7].strip() == "ready" and not (self._socket_dir / SOCKET).exists()

    def _launch(self) -> tuple[int, subprocess.Popen[bytes]]:
        """Start the server. Returns where in the log its words begin, and the process."""
        cluster = self._cluster
        clear_foreign_locks(cluster, self._socket_dir)
        if cluster.log.exists() and cluster.log.stat().st_size > LARGEST_LOG_BYTES:
            cluster.log.replace(cluster.log.with_name("pg.log.1"))
        argv = [cluster.installation.program("postgres"), "-D", str(cluster.pgdata)]
        argv += ["-k", str(self._socket_dir), "-p", str(PORT)]
        log = os.open(cluster.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            said_from = os.fstat(log).st_size
            child = start(cluster.account, argv, log)
        finally:
            os.close(log)
        # Reaps it whenever it dies, so that no zombie keeps its process id.
        threading.Thread(target=child.wait, name="postgres", daemon=True).start()
        return said_from, child

    def _stop_if_last(self, users: int) -> None:
        if not try_lock(users):
            return
        self._stop()
        if self._socket_dir != self._cluster.pgdata:
            with suppress(OSError):
                self._socket_dir.rmdir()

    def _stop(self) -> None:
        """Stop the server at once but cleanly; the next start has nothing to recover."""
        pid = self._cluster.postmaster()
        if pid is None:
            return
        for number, patience_s in ((signal.SIGINT, LONGEST_STOP_S), (signal.SIGQUIT, LONGEST_STOP_S)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            began = time.monotonic()
            while time.monotonic() < began + patience_s:
                if not is_postmaster(pid, self._cluster.pgdata):
                    return
                time.sleep(POLL_S)
            self._say(f"PostgreSQL (process {pid}) has not stopped in {patience_s:.0f} s.")


def has_ended(child: subprocess.Popen[bytes] | None) -> bool:
    return child is None or child.poll() is not None


def open_lock(path: Path) -> int:
    """Python opens it close-on-exec, so the server does not inherit the lock."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be opened: {error.strerror}. Another user's process may have made it; "
            "set IMAGEGATE_DATA_DIR to a folder of your own."
        ) from error


def try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
