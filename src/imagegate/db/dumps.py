"""Backups of the database: written by pg_dump in its custom format, looked into, and read back in one transaction.

The programs are described at https://www.postgresql.org/docs/18/backup-dump.html, read 2026-11-21. Everything here
blocks: call it in a thread.
"""

import os
import re
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from imagegate.db.pgbinaries import client_command, find_client, last_lines, psql_command
from imagegate.errors import OperatorError

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
NEEDED = ("accounts", "alembic_version", "generations", "instance", "transfers", "wallets")
AT_WORK = re.compile(r'(?:dumping contents of|processing data for) table "(?:[^".]+\.)?([^"]+)"')


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup is of. revision: of the schema; instance: the rows of that table, by name."""

    tables: tuple[str, ...]
    revision: str
    instance: dict[str, str]


def write_dump(url: str, tables: Collection[str], path: Path, at_work: Callable[[str], None]) -> int:
    """Dump these tables into a file that only its owner reads; whole or not at all. Returns its bytes.

    at_work: told each table as its rows are written. Raises OperatorError; then there is no file.
    """
    argv, secret = client_command("pg_dump", url)
    wanted = [f"--table={name}" for name in checked(tables)]
    aside = path.with_name(f"{path.name}.part")
    try:
        aside.unlink(missing_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            options = ["--format=custom", "--verbose", "--lock-wait-timeout=60s", *wanted]
            listen([*argv, *options], handle, os.environ | dict(secret), at_work)
            os.fsync(handle)
        finally:
            os.close(handle)
        aside.rename(path)
        return path.stat().st_size
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}. Choose another file.") from None
    finally:
        aside.unlink(missing_ok=True)


def look_into(path: Path) -> Contents:
    """Raises OperatorError for a file that is no whole backup of this program's tables."""
    listed = read(["--list", str(path)], path)
    tables = tuple(re.findall(r"^\d+; \d+ \d+ TABLE \S+ (\S+)", listed, re.MULTILINE))
    if missing := [name for name in NEEDED if name not in tables]:
        text = f"{path} is no backup of imagegate: it has no table {missing[0]}. Make one: imagegate db backup FILE"
        raise OperatorError(text)
    rows = data_of("alembic_version", path)
    instance = [row.split("\t") for row in data_of("instance", path)]
    return Contents(tables, rows[0] if rows else "", {row[0]: row[1] for row in instance if len(row) == 2})


def data_of(table: str, path: Path) -> list[str]:
    """The rows of a small table, as COPY writes them."""
    script = read(["--data-only", f"--table={table}", "--file=-", str(path)], path)
    lines = script.partition("FROM stdin;\n")[2].partition("\n\\.")[0]
    return [line for line in lines.splitlines() if line]


def read(arguments: list[str], path: Path) -> str:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}.") from None
    done = subprocess.run(
        [find_client("pg_restore"), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OperatorError(f"{path} is no backup, or is not whole: {last_lines(done.stderr)}")
    return done.stdout


def read_back(
    url: str, path: Path, drop: Collection[str], at_work: Callable[[str], None], *, grants: bool
) -> None:
    """Put a backup in the place of these tables, in one transaction: after an error all is as it was.

    grants: whether the backup's privileges are given too, to a role that must be there. Raises OperatorError.
    """
    argv, secret = psql_command(url)
    script = ["--file=-", "--no-owner", "--verbose", *([] if grants else ["--no-privileges"]), str(path)]
    options = ["-X", "-q", "-v", "ON_ERROR_STOP=1"]
    psql = subprocess.Popen(
        [*argv, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | dict(secret),
    )
    assert psql.stdin is not None
    assert psql.stderr is not None
    error: OperatorError | None = None
    try:
        psql.stdin.write(f"BEGIN;\nDROP TABLE IF EXISTS {', '.join(checked(drop))};\n".encode())
        psql.stdin.flush()
        listen([find_client("pg_restore"), *script], psql.stdin.fileno(), dict(os.environ), at_work)
        psql.stdin.write(b"COMMIT;\nANALYZE;\n")  # psql ends without a commit when it has not read this
        psql.stdin.close()
    except BrokenPipeError:
        pass  # psql says below why it ended
    except OperatorError as failed:
        error = failed
    said = end_of(psql)
    if psql.returncode or error is not None:
        why = said or (error.message if error else f"psql ended with {psql.returncode}")
        raise OperatorError(f"{path} was not restored, and nothing was changed: {why}")


def end_of(psql: "subprocess.Popen[bytes]") -> str:
    """Wait for its end; what it said last."""
    try:
        if psql.stdin is not None and not psql.stdin.closed:
            psql.stdin.close()
    except BrokenPipeError:
        pass
    said = psql.stderr.read().decode(errors="replace") if psql.stderr is not None else ""
    psql.wait()
    return last_lines(said)


def listen(argv: list[str], output: int, environment: dict[str, str], at_work: Callable[[str], None]) -> None:
    """Run a program to its end and tell what it says of its progress. Raises OperatorError with its last words."""
    said: list[str] = []
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, env=environment, text=True
    ) as program:
        assert program.stderr is not None
        for line in program.stderr:
            if (table := AT_WORK.search(line)) is not None:
                at_work(table[1])
            said = [*said[-7:], line]
    if program.returncode:
        raise OperatorError(f"{Path(argv[0]).name} failed: {last_lines(''.join(said))}")


def checked(names: Collection[str]) -> list[str]:
    """Names that need no quotes. Raises ValueError."""
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"not a plain table name: {name!r}")
    return sorted(names)
