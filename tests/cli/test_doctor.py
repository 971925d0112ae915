import socket
from typing import Any

from imagegate.db.embedded import EmbeddedPostgres
from tests.cli.conftest import Shell, beside


def checks(answer: Any) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in answer["checks"]}


def test_a_healthy_house_passes_with_warnings(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = shell.having(IMAGEGATE_PROT="1", IMAGEGATE_PORT=port).run("doctor", "--json")

    assert said.code == 0
    found = checks(said.json)
    assert {found[name]["state"] for name in ("database", "schema", "role", "secret", "image store")} == {
        "ok"
    }
    assert found["variables"]["state"] == found["port"]["state"] == "warn"
    assert "IMAGEGATE_PORT" in found["variables"]["next"]
    assert "set IMAGEGATE_OPENAI_API_KEY" in found["provider openai"]["next"]


def test_a_database_without_tables_fails_and_names_the_command(
    shell: Shell, server: EmbeddedPostgres
) -> None:
    apart = beside(shell, server, "doctor_bare")

    said = apart.run("doctor")

    assert said.code == 1
    assert "imagegate db upgrade" in next(
        line for line in said.out.splitlines() if line.startswith("fail  schema")
    )


def test_another_secret_and_an_unreachable_database_fail(shell: Shell, server: EmbeddedPostgres) -> None:
    apart = beside(shell, server, "doctor_secret")
    apart.json("db", "upgrade")
    apart.json("accounts", "list")

    other = apart.having(IMAGEGATE_SECRET="another0" + apart.environment["IMAGEGATE_SECRET"]).run(
        "doctor", "--json"
    )
    assert (other.code, checks(other.json)["secret"]["state"]) == (1, "fail")
    gone = apart.having(IMAGEGATE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none").run("doctor", "--json")
    assert (gone.code, checks(gone.json)["database"]["state"]) == (1, "fail")


def test_wrong_settings_fail_before_anything_else(shell: Shell) -> None:
    said = shell.having(IMAGEGATE_PORT="eighty").run("doctor", "--json")

    assert said.code == 1
    assert "IMAGEGATE_PORT" in checks(said.json)["settings"]["detail"]
