from tests.cli.conftest import Shell


def test_limits_are_set_shown_and_cleared(shell: Shell) -> None:
    shell.json("accounts", "create", "vera")
    key = shell.json("keys", "create", "--account", "vera", "--env", "live")["id"]
    of = ("--account", "vera")

    made = shell.json("limits", "set", *of, "--requests-per-min", "60", "--day-tokens", "5000")
    shell.json("limits", "set", *of, "--key", key, "--concurrent", "2", "--reason", "a trial")
    shell.json("limits", "set", *of, "--team", "art", "--month-tokens", "9000")

    assert (made["requests_per_min"], made["day_tokens"], made["month_tokens"]) == (60, 5000, None)
    assert made["day"]["left_tokens"] == 5000
    shown = shell.json("limits", "show", *of)["limits"]
    assert [(row["scope"], row["scope_id"]) for row in shown] == [
        ("account", None),
        ("key", key),
        ("team", "art"),
    ]
    text = shell.run("limits", "show", *of).out
    assert "team art" in text
    assert "9,000" in text
    left = shell.json("limits", "clear", *of, "--only", "day-tokens")
    assert (left["requests_per_min"], left["day_tokens"]) == (60, None)
    shell.json("limits", "clear", *of)
    assert [row["scope"] for row in shell.json("limits", "show", *of)["limits"]] == ["key", "team"]
    assert shell.refused("limits", "clear", *of)["code"] == "not_found"


def test_the_limits_of_live_and_test_are_apart(shell: Shell) -> None:
    shell.json("accounts", "create", "ruth")
    shell.json("limits", "set", "--account", "ruth", "--env", "test", "--concurrent", "1")

    assert shell.json("limits", "show", "--account", "ruth")["limits"] == []
    assert "no limits" in shell.run("limits", "show", "--account", "ruth").out
    (only,) = shell.json("limits", "show", "--account", "ruth", "--env", "test")["limits"]
    assert (only["env"], only["concurrent"]) == ("test", 1)


def test_limits_that_cannot_be_are_refused(shell: Shell) -> None:
    shell.json("accounts", "create", "edna")
    of = ("limits", "set", "--account", "edna")

    assert shell.run(*of).code == 2
    assert shell.run(*of, "--day-tokens", "-1").code == 2
    assert shell.refused(*of, "--team", "art", "--concurrent", "1")["code"] == "invalid_value"
    assert (
        shell.refused(*of, "--team", "art", "--app", "shop", "--day-tokens", "1")["code"] == "invalid_value"
    )
    assert shell.refused(*of, "--key", "key_" + "0" * 32, "--day-tokens", "1")["code"] == "not_found"
    assert shell.json("limits", "show", "--account", "edna")["limits"] == []
