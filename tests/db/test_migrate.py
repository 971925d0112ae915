"""Upgrading the schema: whole or not at all, by one process at a time."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from tests.db.programs import UPGRADER, ask, holding, wait_until

from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import (
    VERSION_TABLE,
    current_and_head,
    find_head,
    find_scripts,
    open_migration_engine,
    upgrade,
)
from imagegate.errors import OperatorError

FIRST = ("0001", None, "op.execute('CREATE TABLE first AS SELECT 1 AS n')")
SECOND = ("0002", "0001", "op.execute('INSERT INTO first VALUES (2)')")
BROKEN = ("0002", "0001", "op.execute('CREATE TABLE second ()'); op.execute('SELECT 1/0')")


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> str:
    return postgres.create_database("migrations")[0]


@pytest.fixture
def url(database: str) -> str:
    """An empty database."""
    ask(database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return database


def quiet(line: str) -> None:
    pass


def write(folder: Path, *scripts: tuple[str, str | None, str]) -> Path:
    """A folder of migrations with our own env.py."""
    (folder / "versions").mkdir(parents=True)
    shutil.copy(find_scripts() / "env.py", folder)
    for revision, down, work in scripts:
        header = f"from alembic import op\nrevision, down_revision = {revision!r}, {down!r}\n"
        (folder / "versions" / f"{revision}.py").write_text(f"{header}def upgrade():\n    {work}\n")
    return folder


def start_upgrade(url: str, scripts: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", UPGRADER, url, str(scripts)], stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    complaint = process.communicate(timeout=60)[1]
    return process.returncode, complaint


def test_an_upgrade_runs_what_is_new_and_says_so_once(url: str, tmp_path: Path) -> None:
    said: list[str] = []
    old, new = write(tmp_path / "old", FIRST), write(tmp_path / "new", FIRST, SECOND)

    for scripts in (old, old, new, new):
        upgrade(url, said.append, scripts)

    assert ask(url, "SELECT string_agg(n::text, ',' ORDER BY n) FROM first") == "1,2"
    assert len(said) == 2
    assert "from 0001 to 0002" in said[1]


def test_a_failed_migration_leaves_nothing_half(url: str, tmp_path: Path) -> None:
    scripts = write(tmp_path / "scripts", FIRST, BROKEN)

    with pytest.raises(OperatorError, match=r"nothing was changed: .*division by zero"):
        upgrade(url, quiet, scripts)

    assert ask(url, "SELECT to_regclass('first'), to_regclass('second')") == "|"
    assert ask(url, "SELECT count(*) FROM alembic_version") == "0"


def test_upgrades_at_once_are_done_by_one(url: str, tmp_path: Path) -> None:
    """All wait at the version table, which is held until every one of them has read the old revision."""
    scripts = write(tmp_path / "scripts", FIRST, SECOND)
    ask(url, VERSION_TABLE)
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'alembic_version'::regclass AND NOT granted"
    with holding(url, "LOCK TABLE alembic_version IN SHARE ROW EXCLUSIVE MODE"):
        processes = [start_upgrade(url, scripts) for _ in range(2)]
        wait_until(lambda: ask(url, waiting) == "2")

    assert [finish(process) for process in processes] == [(0, "")] * 2
    assert ask(url, "SELECT string_agg(n::text, ',' ORDER BY n) FROM first") == "1,2"


def test_a_version_table_made_by_another_at_the_same_moment_is_used(url: str, tmp_path: Path) -> None:
    """IF NOT EXISTS does not help there: the second one waits for the first and then fails."""
    scripts = write(tmp_path / "scripts", FIRST, SECOND)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'migrations'"
    )

    with holding(url, VERSION_TABLE, end="COMMIT"):
        process = start_upgrade(url, scripts)
        wait_until(lambda: ask(url, waiting) == "1")

    assert finish(process) == (0, "")
    assert ask(url, "SELECT string_agg(version_num, ',') FROM alembic_version") == "0002"


def test_a_database_of_a_newer_program_is_left_alone(url: str, tmp_path: Path) -> None:
    upgrade(url, quiet, write(tmp_path / "new", FIRST, SECOND))

    with pytest.raises(OperatorError, match="may be newer"):
        upgrade(url, quiet, write(tmp_path / "old", FIRST))

    assert ask(url, "SELECT version_num FROM alembic_version") == "0002"


def test_a_database_that_cannot_be_reached_is_named_without_its_password() -> None:
    with pytest.raises(OperatorError, match="cannot be reached") as raised:
        upgrade("postgresql://me:hush@/db?host=/nowhere&port=5432", quiet)

    assert "hush" not in str(raised.value)


async def test_readiness_sees_how_far_the_schema_is(url: str, tmp_path: Path) -> None:
    scripts = write(tmp_path / "scripts", FIRST, SECOND)
    engine = open_migration_engine(url)
    async with engine.connect() as connection:
        before = await current_and_head(connection, scripts)
        await connection.execute(text(VERSION_TABLE))
        empty = await current_and_head(connection, scripts)
        await connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
        behind = await current_and_head(connection, scripts)
    await engine.dispose()

    assert (before, empty, behind) == ((None, "0002"), (None, "0002"), ("0001", "0002"))


async def test_an_upgrade_may_be_called_inside_a_loop(url: str, tmp_path: Path) -> None:
    upgrade(url, quiet, write(tmp_path / "scripts", FIRST))

    assert ask(url, "SELECT n FROM first") == "1"


def test_the_head_is_the_one_alembic_finds() -> None:
    assert find_head(find_scripts()) == ScriptDirectory(str(find_scripts())).get_current_head()
