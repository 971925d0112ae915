"""`imagegate completion` and `imagegate openapi`: what other programs read."""

import subprocess
import sys

from tests.cli.conftest import Shell


def test_the_completion_that_is_shown_completes_verbs(shell: Shell) -> None:
    shown = shell.json("completion", "show", "--shell", "bash")
    text = shell.run("completion", "show", "--shell", "zsh").out

    asked = {"_IMAGEGATE_COMPLETE": "complete_bash", "COMP_WORDS": "imagegate db ba", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "imagegate"],
        env=shell.environment | asked,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (shown["shell"], "complete -o default -F" in shown["script"]) == ("bash", True)
    assert "#compdef imagegate" in text
    assert done.stdout.split() == ["backup"], done


def test_the_completion_is_installed_for_the_user_alone(shell: Shell) -> None:
    house = shell.having(HOME=str(shell.home))

    done = house.json("completion", "install", "--shell", "bash")

    assert done["path"].startswith(str(shell.home))
    assert "_imagegate_completion" in (shell.home / ".bash_completions" / "imagegate.sh").read_text()
    assert "imagegate.sh" in (shell.home / ".bashrc").read_text()
    assert shell.run("completion", "show", "--shell", "cmd").code == 2


def test_the_api_is_described_without_a_server_or_a_database(shell: Shell) -> None:
    nowhere = shell.having(IMAGEGATE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    described = nowhere.json("openapi")
    written = nowhere.json("openapi", "-o", "api.json")
    refused = nowhere.refused("openapi", "-o", "nowhere/api.json")

    assert "/v1/images/generations" in described["paths"]
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert written == {"path": "api.json", "paths": len(described["paths"])}
    assert (shell.home / "api.json").read_text() == nowhere.run("openapi").out
    assert "cannot be written" in refused["message"]
