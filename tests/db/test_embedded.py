"""The life of the embedded server: shared, adopted, recovered, and stopped by the last one."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.db.programs import ask, program, server_pid, wait_until

from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.pgbinaries import choose_account, psql_command, start
from imagegate.db.pgcluster import SOCKET
from imagegate.errors import OperatorError


def quiet(line: str) -> None:
    pass


def test_the_last_of_two_processes_stops_the_server(made: Path) -> None:
    with program(made) as one, program(made) as other:
        assert one.url() == other.url()
        pid = server_pid(made)

        assert one.leave() == 0
        assert server_pid(made) == pid is not None
        assert ask(other.url(), "SELECT 1") == "1"

        assert other.leave() == 0
    assert server_pid(made) is None
    assert not (made / "pg" / "postmaster.pid").exists()


def test_an_interrupt_at_the_terminal_does_not_reach_the_server(made: Path) -> None:
    with EmbeddedPostgres(made, quiet):
        pid = server_pid(made)
        assert pid is not None
        assert os.getsid(pid) not in (os.getsid(0), 0)


def test_a_server_left_by_a_killed_program_is_adopted_and_stopped_in_the_end(made: Path) -> None:
    with program(made) as killed:
        killed.url()
        orphan = server_pid(made)
        killed.kill()
    assert server_pid(made) == orphan is not None

    with EmbeddedPostgres(made, quiet) as server:
        assert server_pid(made) == orphan
        assert server.sole_user
        assert ask(server.app_url, "SELECT current_user") == "imagegate_app"

    assert server_pid(made) is None


def test_what_was_committed_outlives_a_killed_server_and_its_program(made: Path) -> None:
    with program(made) as killed:
        ask(killed.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
        pid = server_pid(made)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        killed.kill()

    with EmbeddedPostgres(made, quiet) as server:
        assert ask(server.owner_url, "SELECT answer FROM kept; DROP TABLE kept") == "42"


def test_a_server_killed_under_its_users_is_started_again(made: Path) -> None:
    with EmbeddedPostgres(made, quiet) as server:
        ask(server.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        pid = server_pid(made)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server_pid(made) is None)

        server.ensure_running()

        assert server_pid(made) not in (pid, None)
        assert ask(server.owner_url, "SELECT answer FROM kept; DROP TABLE kept") == "42"


def test_two_first_starts_at_once_make_one_server(folder: Path) -> None:
    with program(folder / "data") as one, program(folder / "data") as other:
        assert one.url() == other.url() != ""
        pid = server_pid(folder / "data")

        assert ask(one.url(), "SELECT count(*) FROM pg_database WHERE datname = 'imagegate'") == "1"
        assert (one.leave(), server_pid(folder / "data")) == (0, pid)
        assert other.leave() == 0


def test_a_half_made_database_is_made_anew(folder: Path) -> None:
    data = folder / "data"
    with program(data) as killed:
        wait_until(lambda: list(data.glob("pg.making-*/data/base")))
        killed.kill()
    assert not (data / "pg").exists()

    with EmbeddedPostgres(data, quiet) as server:
        assert ask(server.app_url, "SELECT current_database()") == "imagegate"


def test_a_path_too_long_for_a_socket_gets_a_private_temp_folder(folder: Path) -> None:
    data = folder / ("long" * 20) / "and, odd"

    with EmbeddedPostgres(data, quiet) as server:
        noted = Path((data / "pg.socket").read_text().strip())
        assert (noted / SOCKET).exists()
        assert noted.stat().st_mode & 0o777 == 0o700
        assert ask(server.app_url, "SELECT 1") == "1"

    assert not noted.exists()


def test_a_socket_that_was_swept_away_is_made_again(made: Path) -> None:
    with EmbeddedPostgres(made, quiet) as server:
        (made / "pg" / SOCKET).unlink()

        server.ensure_running()

        assert ask(server.owner_url, "SELECT 1") == "1"


def test_a_process_id_used_by_another_program_does_not_keep_the_server_down(made: Path) -> None:
    account = choose_account(made / "pg")
    stranger = start(account, ["/bin/sleep", "600"], subprocess.DEVNULL)
    try:
        lock = made / "pg" / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{made / 'pg'}\n0\n5432\n{made / 'pg'}\n\n\nready\n")
        os.chown(lock, account.uid, account.gid)

        with EmbeddedPostgres(made, quiet) as server:
            assert ask(server.owner_url, "SELECT 1") == "1"

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_does_not_start_says_why(made: Path) -> None:
    configuration = made / "pg" / "postgresql.conf"
    sound = configuration.read_text()
    configuration.write_text(sound + "max_connections = many\n")
    try:
        with pytest.raises(OperatorError, match='invalid value for parameter "max_connections"'):
            EmbeddedPostgres(made, quiet).__enter__()
    finally:
        configuration.write_text(sound)


def test_files_of_another_major_version_are_refused(made: Path) -> None:
    version = made / "pg" / "PG_VERSION"
    version.write_text("17\n")
    try:
        with pytest.raises(OperatorError, match=r"made by PostgreSQL 17.*Dump it"):
            EmbeddedPostgres(made, quiet).__enter__()
    finally:
        version.write_text("18\n")


def test_kubernetes_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")

    with pytest.raises(OperatorError, match="IMAGEGATE_DATABASE_URL"):
        EmbeddedPostgres(made, quiet).__enter__()


def test_a_database_is_copied_with_what_is_in_it(made: Path) -> None:
    with EmbeddedPostgres(made, quiet) as server:
        template, _ = server.create_database("pattern")
        ask(template, "CREATE TABLE stencil AS SELECT 7 AS n")

        copy, _ = server.create_database("likeness", template="pattern")

        assert ask(copy, "SELECT n FROM stencil") == "7"
        with pytest.raises(ValueError, match="not a plain database name"):
            server.create_database('x"; DROP DATABASE pattern')


def test_the_password_is_not_among_the_arguments_of_psql() -> None:
    argv, secret = psql_command("postgresql://me:hush@/db?host=/a b&port=5432&sslmode=disable")

    assert argv[1] == "postgresql://me@/db?host=%2Fa%20b&port=5432&sslmode=disable"
    assert secret == {"PGPASSWORD": "hush"}


def test_strangers_get_in_neither_without_a_password_nor_with_a_wrong_one(made: Path) -> None:
    with EmbeddedPostgres(made, quiet) as server:
        argv, secret = psql_command(server.owner_url)
        for password in ("", "wrong"):
            variables = {**os.environ, **secret, "PGPASSWORD": password}
            done = subprocess.run([*argv, "-w", "-c", "SELECT 1"], env=variables, capture_output=True)
            assert done.returncode != 0
        assert ask(server.owner_url, "SHOW listen_addresses") == ""
        assert ask(server.owner_url, "SHOW fsync") == "on"
        assert (made / "pg.passwords").stat().st_mode & 0o777 == 0o600
