import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import typer

from imagegate import __version__
from imagegate.cli import app
from tests.cli.conftest import Shell

SLOW = (
    "fastapi",
    "sqlalchemy",
    "pydantic",
    "httpx",
    "aiohttp",
    "alembic",
    "uvicorn",
    "structlog",
    "asyncpg",
    "rich",
)


def verbs(command: Any, name: str = "imagegate") -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from verbs(inner, f"{name} {word}")


def test_every_verb_takes_json_and_says_what_it_does() -> None:
    found = dict(verbs(typer.main.get_command(app)))

    without_json = [
        name for name, verb in found.items() if "--json" not in {o for p in verb.params for o in p.opts}
    ]
    assert without_json == []
    assert [name for name, verb in found.items() if not verb.help] == []
    assert {"imagegate demo", "imagegate keys revoke", "imagegate ledger verify"} <= set(found)


def test_the_command_imports_nothing_slow_before_a_verb_runs() -> None:
    code = f"import sys, imagegate.cli; print([name for name in {SLOW} if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


def test_verbs_about_records_do_not_import_the_web_framework(shell: Shell) -> None:
    said = shell.start("accounts", "list", "--json", python=("-X", "importtime"))

    assert said.code == 0
    assert "sqlalchemy" in said.err
    for slow in ("fastapi", "uvicorn", "aiohttp", "obstore"):
        assert slow not in said.err


def test_the_version_is_the_package_s(shell: Shell) -> None:
    said = shell.start("--version")

    assert (said.code, said.out) == (0, f"imagegate {__version__}\n")


def test_wrong_use_ends_with_2_and_leaves_stdout_alone(shell: Shell) -> None:
    for wrong in (
        ("fly",),
        ("keys", "create", "--account", "x"),
        ("prices", "set", "dall-e-3", "--size", "big", "--tokens", "5", "--reason", "r"),
        ("keys", "create", "--account", "x", "--env", "test", "--expires", "soon"),
        ("image", "a cat", "-o", "nowhere/cat.png"),
        ("image", ""),
    ):
        said = shell.run(*wrong)
        assert (said.code, said.out) == (2, ""), wrong
        assert "Usage: imagegate" in said.err


def test_a_mistyped_verb_account_model_or_provider_is_answered_with_what_was_meant(shell: Shell) -> None:
    shell.json("accounts", "create", "gertrude")

    verbs = [shell.run(*words).err for words in (("doctr",), ("keys", "creat"), ("db", "backpu"))]
    shown = shell.refused("wallets", "show", "--account", "gertrud")
    drawn = shell.refused("image", "a fox", "-m", "sandbx", "--account", "gertrude")
    enabled = shell.refused("providers", "enable", "opnai", "--reason", "a test")

    for said, meant in zip(verbs, ("doctor", "create", "backup"), strict=True):
        assert f"Did you mean '{meant}'?" in said
    assert "Did you mean 'gertrude'?" in shown["message"]
    assert "Did you mean" in drawn["message"]
    assert "Did you mean 'openai'?" in enabled["message"]
