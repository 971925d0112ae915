"""`accounts set-moderation` and `keys set-moderation`."""

from tests.cli.conftest import Shell


def test_policies_are_set_and_listed(shell: Shell) -> None:
    shell.json("accounts", "create", "rosalyn")
    key = shell.json("keys", "create", "--account", "rosalyn", "--env", "test")["id"]

    account = shell.json("accounts", "set-moderation", "rosalyn", "flag", "--reason", "a contract")
    changed = shell.json("keys", "set-moderation", key, "off", "--reason", "a contract")
    (shown,) = shell.json("keys", "list", "--account", "rosalyn")["keys"]

    assert (account["moderation"], changed["moderation"], shown["moderation"]) == ("flag", "off", "off")


def test_a_policy_that_there_is_not_is_refused(shell: Shell) -> None:
    said = shell.run("accounts", "set-moderation", "anybody", "perhaps", "--reason", "a test")

    assert (said.code, "perhaps" in said.err) == (2, True)
