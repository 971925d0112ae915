"""The embedded server as root, as an ordinary user, and in folders that are closed to others."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.db.programs import USER, ask, server_pid

from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.pgbinaries import WHEEL, Installation, find_installation

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@as_root
def test_root_runs_the_server_as_another_user_and_shuts_its_folders(folder: Path) -> None:
    data = folder / "data"
    old_umask = os.umask(0o077)
    try:
        with EmbeddedPostgres(data, lambda line: None) as server:
            pid = server_pid(data)
            assert Path(f"/proc/{pid}").stat().st_uid == (data / "pg").stat().st_uid != 0
            assert ask(server.owner_url, "SELECT 1") == "1"
    finally:
        os.umask(old_umask)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (data, *data.iterdir())}
    assert modes == {
        "data": 0o711,
        "pg": 0o700,
        "pg.log": 0o600,
        "pg.passwords": 0o600,
        "pg.start": 0o600,
        "pg.users": 0o600,
    }


@as_root
def test_programs_that_the_servers_user_cannot_reach_are_copied_once(folder: Path, made: Path) -> None:
    found = find_installation()
    closed = folder / "closed"
    for source in (found.home, *found.libraries):
        shutil.copytree(source, closed / source.relative_to(found.home.parent.parent))
    closed.chmod(0o700)
    hidden = Installation(closed / WHEEL / found.home.name)
    said: list[str] = []

    for _ in range(2):
        with EmbeddedPostgres(made, said.append, hidden) as server:
            assert ask(server.owner_url, "SELECT 1") == "1"
            running = Path(f"/proc/{server_pid(made)}/exe").readlink()
            assert running.is_relative_to(made / "pgsql")

    assert len([line for line in said if "cannot reach" in line]) == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_a_data_directory_in_a_closed_folder_has_its_database_beside_it(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    said: list[str] = []
    elsewhere = folder
    try:
        for _ in range(2):
            with EmbeddedPostgres(closed / "data", said.append) as server:
                assert ask(server.app_url, "SELECT 1") == "1"
        elsewhere = Path((closed / "data" / "pg.place").read_text().strip())
        assert (elsewhere / "pg" / "PG_VERSION").exists()
    finally:
        if elsewhere != folder:
            shutil.rmtree(elsewhere)

    assert len([line for line in said if str(elsewhere) in line and "noted in" in line]) == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_a_closed_but_own_data_directory_is_opened_to_pass_through_only(made: Path) -> None:
    made.chmod(0o700)

    with EmbeddedPostgres(made, lambda line: None) as server:
        assert ask(server.app_url, "SELECT 1") == "1"

    assert made.stat().st_mode & 0o777 == 0o711


@as_root
def test_an_ordinary_user_runs_it_as_itself(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    become = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": (), "cwd": "/"}
    path = os.pathsep.join([*sys.path[1:], str(Path(__file__).parents[2] / "src")])
    variables = {"PATH": os.defpath, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)}
    python = find_python(become, variables)
    home = folder / "home"
    home.mkdir(mode=0o755)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)

    process = subprocess.Popen(
        [python, "-c", USER, str(home / "data")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables, **become,
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    server = server_pid(home / "data")
    answer = ask(url, "SELECT 1")
    process.communicate("\n", timeout=60)

    assert Path(home / "data" / "pg").stat().st_uid == nobody.pw_uid
    assert (home / "data").stat().st_mode & 0o777 == 0o700
    assert (server is not None, answer, process.returncode) == (True, "1", 0)
    assert server_pid(home / "data") is None


def find_python(become: dict[str, object], variables: dict[str, str]) -> str:
    """An interpreter of this version that the other user can run, with everything this one can import."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            done = subprocess.run(
                [python, "-c", "import imagegate.db.embedded"], env=variables, capture_output=True, **become
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip("no interpreter of this version that `nobody` can run and that finds the dependencies")
