"""`imagegate request` and `doctor ID`: everything about one request, and why it failed."""

from datetime import UTC, datetime

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.long

SMALL = ("-m", "sandbox", "-s", "256x256")


def newest(shell: Shell, account: str) -> str:
    (shown,) = shell.json("logs", "tail", "--account", account, "-n", "1")["generations"]
    named: str = shown["id"]
    return named


def test_a_request_is_shown_whole_by_each_of_its_ids(shell: Shell) -> None:
    shell.json("accounts", "create", "odette")
    named = shell.json("image", "a brown owl", *SMALL, "--account", "odette")["id"]

    shown = shell.json("request", named)
    text = shell.run("request", named).out

    assert shown == shell.json("request", f"{named}_0")
    assert (shown["state"], shown["charged_tokens"], shown["job"], shown["webhooks"]) == (
        "captured",
        5_000,
        None,
        [],
    )
    assert [line["tokens"] for line in shown["bill"]["lines"]] == ["5000"] * 5
    assert shown["request"]["prompt"] == "a brown owl"
    assert (len(shown["attempts"]), len(shown["transfers"]), len(shown["stored"])) == (1, 1, 1)
    for part in (
        "delivered: 1 × 5000",
        "prompt: a brown owl",
        "DELIVERED",
        shown["stored"][0]["sha256"],
        "capture",
    ):
        assert part in text
    assert "moderation: nobody was asked" in text


def test_a_request_tells_what_moderators_said(shell: Shell) -> None:
    shell.json("accounts", "create", "flagged")
    (shell.home / "blocklist.txt").write_text("badger\n")
    strict = shell.having(
        IMAGEGATE_MODERATION_BLOCKLIST_FILE="blocklist.txt", IMAGEGATE_MODERATION_POLICY="flag"
    )
    named = strict.json("image", "a badger", *SMALL, "--account", "flagged")["id"]

    text = shell.run("request", named).out

    assert "moderation under the policy flag" in text
    assert "  input: flagged (blocklist: " in text


def test_the_doctor_says_why_a_generation_failed_and_that_no_money_moved(shell: Shell) -> None:
    shell.json("accounts", "create", "unlucky")
    assert shell.run("image", "[[fail:503]]", *SMALL, "--account", "unlucky").code == 1
    named = newest(shell, "unlucky")

    found = shell.json("doctor", named)
    text = shell.run("doctor", named).out

    assert (found["status"], found["money"]["moved"], found["money"]["charged_tokens"]) == (
        "failed",
        False,
        0,
    )
    assert found["told"]["status"] >= 500
    assert found["why"].startswith("It failed: sandbox ")
    assert found["next"].startswith("imagegate ")
    assert f"The caller was told: {found['told']['status']} {found['told']['code']}" in text
    assert "Nothing was charged: the hold of 5,000 tokens was given back." in text
    assert f"Next: {found['next']}" in text


def test_the_doctor_tells_of_a_charge_and_its_refund(shell: Shell) -> None:
    shell.json("accounts", "create", "refunded")
    named = shell.json("image", "an owl", *SMALL, "--account", "refunded")["id"]
    shell.json("generations", "refund", named, "--tokens", "2000", "--reason", "a blurred picture")

    found = shell.json("doctor", named)

    assert (found["status"], found["told"]["status"]) == ("completed", 200)
    assert (found["money"]["charged_tokens"], found["money"]["refunded_tokens"]) == (5_000, 2_000)
    assert "2,000 were refunded since" in found["money"]["says"]


def test_ids_of_nothing_are_refused_with_a_next_command(shell: Shell) -> None:
    for words in (
        ("request", "gen_" + "0" * 32),
        ("request", "msg_" + "0" * 32),
        ("request", "req_" + "0" * 32),
        ("request", "fox"),
        ("doctor", "gen_" + "0" * 32),
    ):
        error = shell.refused(*words)
        assert error["code"] == "not_found", words
        assert "imagegate " in error["message"], words
    assert shell.run("request").code == 2


def test_the_newest_are_told_one_a_line_and_narrowed(shell: Shell) -> None:
    shell.json("accounts", "create", "tailed")
    of = ("--account", "tailed")
    first = shell.json("image", "one", *SMALL, *of)["id"]
    shell.run("image", "[[fail:503]]", *SMALL, *of)

    lines = shell.run("logs", "tail", *of).out.splitlines()
    listed = shell.json("logs", "tail", *of)["generations"]
    failed = shell.run("logs", "tail", *of, "--status", "failed").out.splitlines()

    assert len(lines) == len(listed) == 2
    assert lines[0].startswith(str(datetime.now(UTC).year))
    for part in (first, "completed", "tailed/test", "imagegate/sandbox", "1/1", "5,000 tokens", "sandbox"):
        assert part in lines[0]
    assert "one" not in lines[0].split()
    assert failed == lines[1:]
    assert "0 tokens" in failed[0]
    assert "There is no such generation." in shell.run("logs", "tail", *of, "--status", "queued").out
    assert (
        shell.refused("logs", "tail", "--account", "tailled")["message"].count("Did you mean 'tailed'?") == 1
    )
    assert shell.run("logs", "tail", "--status", "lost").code == 2
