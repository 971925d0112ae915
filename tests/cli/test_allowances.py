from tests.cli.conftest import Shell


def test_an_allowance_is_set_listed_and_ended(shell: Shell) -> None:
    shell.json("accounts", "create", "hilda")
    of = ("--account", "hilda")
    per_month = ("allowances", "set", *of, "--per", "month", "--reason", "a plan")

    made = shell.json(*per_month, "--tokens", "7000")
    changed = shell.json(*per_month, "--tokens", "9000", "--carry-over")

    assert made["id"].startswith("alw_")
    assert (changed["id"], changed["tokens"], changed["carry_over"]) == (made["id"], 9000, True)
    assert shell.json("wallets", "show", *of)["posted_tokens"] == 7000
    assert shell.json("allowances", "list", *of)["allowances"] == [changed]
    assert changed in shell.json("allowances", "list")["allowances"]
    assert "9,000 a month" in shell.run("allowances", "list").out
    (grant,) = shell.json("wallets", "statement", *of)["transfers"]
    assert (grant["kind"], grant["external_ref"].split(":")[0]) == ("grant", made["id"])

    ended = shell.json("allowances", "end", made["id"], "--reason", "left")

    assert ended["ended_at"] is not None
    assert shell.json("allowances", "list", *of)["allowances"] == []
    assert shell.json("allowances", "list", *of, "--ended")["allowances"] == [ended]
    assert shell.json("wallets", "show", *of)["posted_tokens"] == 7000


def test_what_is_left_of_an_ended_allowance_goes_back(shell: Shell) -> None:
    shell.json("accounts", "create", "berta")
    wanted = ("--account", "berta", "--per", "day", "--tokens", "500", "--reason", "a trial")
    made = shell.json("allowances", "set", *wanted, "--env", "test")
    before = shell.json("wallets", "show", "--account", "berta", "--env", "test")["posted_tokens"]

    shell.json("allowances", "end", made["id"], "--reason", "over")

    after = shell.json("wallets", "show", "--account", "berta", "--env", "test")["posted_tokens"]
    assert before - after == 500


def test_an_allowance_that_cannot_be_is_refused(shell: Shell) -> None:
    shell.json("accounts", "create", "doris")
    of = ("allowances", "set", "--account", "doris")

    assert shell.run(*of, "--per", "week", "--tokens", "5", "--reason", "r").code == 2
    assert shell.run(*of, "--per", "day", "--tokens", "0", "--reason", "r").code == 2
    assert shell.run(*of, "--per", "day", "--tokens", "5").code == 2
    assert shell.refused(*of, "--per", "day", "--tokens", "5", "--reason", " ")["code"] == "invalid_value"
    assert shell.refused("allowances", "end", "alw_0", "--reason", "r")["code"] == "not_found"
    assert shell.json("wallets", "show", "--account", "doris")["posted_tokens"] == 0
