"""`imagegate db rollup` tells how far usage is summed up, and changes none of it."""

from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Shell


def test_usage_is_the_same_before_and_after_a_rollup(shell: Shell) -> None:
    shell.json("accounts", "create", "umber")
    shell.json("image", "a fox", "-m", "sandbox", "-s", "256x256", "--account", "umber")
    asked = ("usage", "--account", "umber", "--env", "test", "--since", "2d")
    before = shell.json(*asked)["rows"]

    shown = shell.json("db", "rollup", "--rebuild")

    until = datetime.fromisoformat(shown["until"])
    assert datetime.now(UTC) - timedelta(days=2) < until < datetime.now(UTC)
    assert (until.minute, until.second) == (0, 0)
    assert before
    assert shell.json(*asked)["rows"] == before
