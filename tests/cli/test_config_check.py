"""`imagegate config check`: whether a gateway would start, and what to correct if not."""

import json
from pathlib import Path
from typing import Any

import pytest

from imagegate.db.embedded import EmbeddedPostgres
from tests.cli.conftest import Shell, beside


def checks(answer: Any) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in answer["checks"]}


def test_a_right_configuration_passes(shell: Shell) -> None:
    said, text = shell.run("config", "check", "--json"), shell.run("config", "check")

    assert (said.code, said.json["ok"], text.code) == (0, True, 0)
    found = checks(said.json)
    assert {name for name, check in found.items() if check["state"] == "fail"} == set()
    assert {"settings", "database", "schema", "secret", "image store", "redis", "base URLs", "names"} <= set(
        found
    )
    assert "ok    schema: up to date" in text.out


@pytest.mark.parametrize(
    ("setting", "value", "name", "says"),
    [
        ("PORT", "eighty", "settings", "IMAGEGATE_PORT"),
        ("REDIS_URL", "redis://127.0.0.1:1/0", "redis", "does not answer"),
        ("REDIS_URL", "nonsense", "redis", "IMAGEGATE_REDIS_URL"),
        ("OPENAI_BASE_URL", "api.openai.com/v1", "base URL", "IMAGEGATE_OPENAI_BASE_URL"),
        ("OPENAI_BASE_URL", "https://api openai.com", "base URL", "blank"),
        ("OPENAI_BASE_URL", "https://host:99999/v1", "base URL", "cannot be read"),
        ("DEFAULT_MODEL", "sandbux", "names", "IMAGEGATE_DEFAULT_MODEL"),
        ("REFUSAL_FALLBACK", "nobody", "names", "nobody"),
        ("CATALOGUE_FILE", "nowhere.yaml", "catalogue", "nowhere.yaml"),
        ("MODERATION_BLOCKLIST_FILE", "nowhere.txt", "moderation", "nowhere.txt"),
    ],
)
def test_what_is_wrong_fails_by_its_name(
    shell: Shell, setting: str, value: str, name: str, says: str
) -> None:
    said = shell.having(**{f"IMAGEGATE_{setting}": value}).run("config", "check", "--json")

    assert (said.code, said.json["ok"]) == (1, False)
    check = checks(said.json)[name]
    assert check["state"] == "fail"
    assert says in json.dumps(check)
    assert check["next"]


def test_a_schema_that_is_behind_and_another_secret_fail(shell: Shell, server: EmbeddedPostgres) -> None:
    apart = beside(shell, server, "config_check")

    behind = apart.run("config", "check", "--json")
    apart.json("db", "upgrade")
    apart.json("accounts", "list")
    other = apart.having(IMAGEGATE_SECRET=apart.environment["IMAGEGATE_SECRET"][::-1])
    secret = other.run("config", "check", "--json")
    gone = apart.having(IMAGEGATE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none").run("config", "check")

    assert (behind.code, checks(behind.json)["schema"]["state"]) == (1, "fail")
    assert "imagegate db upgrade" in checks(behind.json)["schema"]["detail"]
    assert (secret.code, checks(secret.json)["secret"]["state"]) == (1, "fail")
    assert gone.code == 1
    assert "fail  database" in gone.out


def test_the_doctor_looks_at_what_is_under_way(shell: Shell) -> None:
    found = checks(shell.run("doctor", "--json").json)

    for name in ("disk", "clock", "workers", "holds", "jobs", "webhooks", "redis"):
        assert found[name]["state"] == "ok", found[name]
    assert str(Path(shell.environment["IMAGEGATE_DATA_DIR"])) in found["disk"]["detail"]
