"""The embedded server's files: where they lie, how they are made, and which process serves them."""

import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagegate.db.pgbinaries import (
    MAJOR,
    Account,
    Installation,
    can_enter,
    choose_account,
    last_lines,
    ourselves,
    run,
)
from imagegate.errors import OperatorError

OWNER = "imagegate"
APP = "imagegate_app"
DATABASE = "imagegate"
PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"
LONGEST_SOCKET_BYTES = 90

# Written into postgresql.conf once, so the operator may tune them. Errors are logged without their
# statement and detail, which could hold a prompt.
CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """`data_dir` holds locks, log and passwords; `folder` holds PGDATA, and is `data_dir` where it can be."""

    data_dir: Path
    folder: Path
    account: Account
    installation: Installation

    @property
    def pgdata(self) -> Path:
        return self.folder / "pg"

    @property
    def log(self) -> Path:
        return self.data_dir / "pg.log"

    def postmaster(self) -> int | None:
        """The server's process id, when the one that is written down runs and is this server."""
        pid = read_pid(self.pgdata / "postmaster.pid")
        return pid if pid is not None and is_postmaster(pid, self.pgdata) else None

    def socket_dir(self) -> Path:
        """Where the running server listens, else where the next one will."""
        lines = read_lines(self.pgdata / "postmaster.pid")
        if len(lines) > 4 and lines[4] and self.postmaster() is not None:
            return Path(lines[4])
        return choose_socket_dir(self)


def open_data_dir(path: Path) -> Path:
    """Make the folder if need be: closed to others; as root open to pass through, for the server's user."""
    root = os.geteuid() == 0
    try:
        folder = path.expanduser().resolve()
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            if place == folder:
                place.chmod(0o711 if root else 0o700)
            elif root:
                place.chmod(0o755)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK) or not folder.is_dir():
            raise PermissionError(13, "it is not a folder this user may write")
    except OSError as error:
        raise OperatorError(
            f"The data directory {path} cannot be used: {error.strerror}. "
            "Set IMAGEGATE_DATA_DIR to a folder that this user may write."
        ) from error
    return folder


def choose_folder(data_dir: Path, say: Callable[[str], None]) -> Path:
    """Where PGDATA lies: in the data directory, unless the server's user cannot reach that."""
    note = data_dir / "pg.place"
    if note.exists():
        noted = Path(note.read_text().strip())
        if noted.is_dir():
            return noted
        raise OperatorError(
            f"The database's folder {noted}, noted in {note}, is gone. "
            f"Put it back, or remove {note} to begin anew."
        )
    account = choose_account(data_dir / "pg")
    if can_enter(account, data_dir):
        return data_dir
    if data_dir.stat().st_uid == 0:
        data_dir.chmod(data_dir.stat().st_mode & 0o7777 | 0o011)
        if can_enter(account, data_dir):
            say(f"{data_dir} is now open to pass through (not to list) for PostgreSQL's user {account.name}.")
            return data_dir
    folder = place_elsewhere(data_dir, account)
    write_durably(note, f"{folder}\n")
    say(
        f"PostgreSQL runs as user {account.name}, which cannot reach {data_dir}: "
        f"its files lie in {folder}, noted in {note}."
    )
    return folder


def place_elsewhere(data_dir: Path, account: Account) -> Path:
    """A folder the server's user can reach. What was put into the temp folder stays in the temp folder."""
    temp = Path(tempfile.gettempdir()).resolve()
    base = temp if data_dir.is_relative_to(temp) else Path("/var/lib")
    if base.is_dir() and os.access(base, os.W_OK) and can_enter(account, base):
        folder = Path(tempfile.mkdtemp(prefix="imagegate-", dir=base))
        folder.chmod(0o711)
        return folder
    raise OperatorError(
        f"PostgreSQL runs as user {account.name}, which cannot reach {data_dir}. "
        "Set IMAGEGATE_DATA_DIR to a folder whose parents every user may pass through: /var/lib/imagegate."
    )


def read_passwords(cluster: Cluster) -> Mapping[str, str]:
    """The passwords of both roles; made before the database is, and never again."""
    path = cluster.data_dir / "pg.passwords"
    if path.exists():
        found: dict[str, str] = json.loads(path.read_text())
        return found
    if cluster.pgdata.exists():
        raise OperatorError(
            f"{path} is missing, so nobody can log in to the database beside it. Restore it from a backup."
        )
    made = {role: secrets.token_urlsafe(32) for role in (OWNER, APP)}
    write_durably(path, json.dumps(made))
    return made


def make_cluster(cluster: Cluster, passwords: Mapping[str, str]) -> None:
    """initdb, roles and database in a folder of another name, renamed when all of it is on disk."""
    for old in cluster.folder.glob("pg.making-*"):
        shutil.rmtree(old, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix="pg.making-", dir=cluster.folder))
    try:
        password_file = making / "password"
        write_durably(password_file, passwords[OWNER])
        for path in (making, password_file):
            os.chown(path, cluster.account.uid, cluster.account.gid)
        initialise(cluster, making / "data", password_file, passwords[APP])
        (making / "data").rename(cluster.pgdata)
        sync_folder(cluster.folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def initialise(cluster: Cluster, pgdata: Path, password_file: Path, app_password: str) -> None:
    """Each step leaves syncing to the last one; syncing files one by one takes ten times as long."""
    initdb, postgres = cluster.installation.program("initdb"), cluster.installation.program("postgres")
    settings = [word for name, value in CONFIGURATION.items() for word in ("--set", f"{name}={value}")]
    make = [initdb, "-D", str(pgdata), "-U", OWNER, "--pwfile", str(password_file), "--auth=scram-sha-256"]
    make += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    make += ["--no-instructions", "--no-sync", *settings]
    alone = [postgres, "--single", "-F", "-D", str(pgdata), "-c", "exit_on_error=on", "postgres"]
    roles = f"CREATE ROLE {APP} LOGIN PASSWORD '{app_password}';\nCREATE DATABASE {DATABASE} OWNER {OWNER};\n"
    sync = [initdb, "--sync-only", "-D", str(pgdata)]
    sync += ["--sync-method=syncfs"] if sys.platform == "linux" else []
    for argv, stdin in ((make, ""), (alone, roles), (sync, "")):
        code, said = run(cluster.account, argv, stdin)
        if code != 0:
            raise OperatorError(f"PostgreSQL's files cannot be made in {cluster.folder}:\n{last_lines(said)}")


def check_pgdata(cluster: Cluster) -> None:
    """Raises OperatorError when this PostgreSQL cannot serve these files."""
    version = (cluster.pgdata / "PG_VERSION").read_text().strip()
    if version != str(MAJOR):
        raise OperatorError(
            f"{cluster.pgdata} was made by PostgreSQL {version}, this is PostgreSQL {MAJOR}. Dump it with "
            f"the imagegate that made it (pg_dump), move {cluster.pgdata} away, start, and restore the dump."
        )
    if cluster.account.switch and cluster.pgdata.stat().st_uid != cluster.account.uid:
        raise OperatorError(
            f"{cluster.pgdata} belongs to root, and PostgreSQL does not run as root. "
            f"Next: chown -R {cluster.account.name} {cluster.pgdata}"
        )


def choose_socket_dir(cluster: Cluster) -> Path:
    """PGDATA, closed to all but its owner; a private temp folder when its path is too long or too odd."""
    pgdata = str(cluster.pgdata)
    if len(os.fsencode(f"{pgdata}/{SOCKET}")) <= LONGEST_SOCKET_BYTES and not set(pgdata) & set(',"\\'):
        return cluster.pgdata
    note = cluster.data_dir / "pg.socket"
    if note.exists() and is_private(noted := Path(note.read_text().strip()), cluster.account):
        return noted
    bases = [base for base in (tempfile.gettempdir(), "/tmp") if can_enter(cluster.account, Path(base))]  # noqa: S108
    if not bases:
        raise OperatorError(
            f"{pgdata} is too long for a socket, and user {cluster.account.name} cannot reach "
            f"{tempfile.gettempdir()}. Set IMAGEGATE_DATA_DIR to a shorter path."
        )
    made = Path(tempfile.mkdtemp(prefix="imagegate-", dir=bases[0]))
    os.chown(made, cluster.account.uid, cluster.account.gid)
    write_durably(note, f"{made}\n")
    return made


def is_private(folder: Path, account: Account) -> bool:
    """A temp folder may be swept and made again by a stranger, so its owner and mode are looked at."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return found.st_uid == account.uid and found.st_mode & 0o170077 == 0o040000


def clear_foreign_locks(cluster: Cluster, socket_dir: Path) -> None:
    """Remove lock files whose process id now belongs to another program, at which PostgreSQL would give up.

    Only when nothing answers; a live server of the same files is still found by its shared memory key.
    """
    for lock in (cluster.pgdata / "postmaster.pid", socket_dir / f"{SOCKET}.lock"):
        pid = read_pid(lock)
        if pid is not None and is_alive(pid) and not is_postmaster(pid, cluster.pgdata):
            lock.unlink(missing_ok=True)


def is_postmaster(pid: int, pgdata: Path) -> bool:
    """By its command line, which a zombie no longer has and which needs no right to trace the process."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return os.path.basename(words[0]) == b"postgres" and os.fsencode(pgdata) in words
    if Path("/proc/self").exists():
        return False
    _, said = run(ourselves(), ["ps", "-ww", "-o", "args=", "-p", str(pid)])
    return "postgres" in said and f"-D {pgdata} " in said


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read_pid(path: Path) -> int | None:
    lines = read_lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() and lines[0] != "0" else None


def read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def write_durably(path: Path, text: str) -> None:
    """A private file, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
