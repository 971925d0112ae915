"""`keys set-routing`."""

from typing import get_args

from imagegate.cli.options import RoutingOrDefault
from imagegate.routing.policy import POLICIES
from tests.cli.conftest import Shell


def test_a_policy_is_set_listed_kept_by_a_new_key_and_taken_away(shell: Shell) -> None:
    shell.json("accounts", "create", "rita")
    key = shell.json("keys", "create", "--account", "rita", "--env", "test")["id"]

    changed = shell.json("keys", "set-routing", key, "cheapest", "--reason", "a contract")
    (shown,) = shell.json("keys", "list", "--account", "rita")["keys"]
    plain = shell.run("keys", "list", "--account", "rita")
    new = shell.json("keys", "rotate", key, "--reason", "once a year")
    gone = shell.run("keys", "set-routing", key, "default", "--reason", "it is over")

    assert (changed["routing"], shown["routing"], new["routing"]) == ("cheapest", "cheapest", "cheapest")
    assert "cheapest" in plain.out
    assert (gone.code, "the gateway decides" in gone.out) == (0, True)
    listed = shell.json("keys", "list", "--account", "rita")["keys"]
    assert [k["routing"] for k in listed] == [None, "cheapest"]


def test_a_policy_that_there_is_not_is_refused(shell: Shell) -> None:
    said = shell.run("keys", "set-routing", "key_0", "dearest", "--reason", "a test")

    assert (said.code, "dearest" in said.err) == (2, True)


def test_every_policy_of_routing_can_be_said() -> None:
    words = get_args(get_args(RoutingOrDefault)[0])

    assert words == (*POLICIES, "default")
