"""`accounts set-retention`, `keys set-keepalive` and `keys create --keepalive`."""

from tests.cli.conftest import Shell

WHY = ("--reason", "a contract")


def test_times_are_set_listed_and_taken_away(shell: Shell) -> None:
    shell.json("accounts", "create", "renata")

    first = shell.json("accounts", "set-retention", "renata", "--images-h", "48", *WHY)
    second = shell.json("accounts", "set-retention", "renata", "--prompts-h", "24", *WHY)
    listed = [a for a in shell.json("accounts", "list")["accounts"] if a["name"] == "renata"]
    plain = shell.run("accounts", "set-retention", "renata", "--images-h", "default", *WHY)

    assert (first["keep_images_h"], first["keep_prompts_h"]) == (48, None)
    assert (second["keep_images_h"], second["keep_prompts_h"]) == (48, 24)
    assert [(a["keep_images_h"], a["keep_prompts_h"]) for a in listed] == [(48, 24)]
    assert plain.code == 0
    assert "images are kept for 720 (the gateway's) hours and prompts for 24" in " ".join(plain.out.split())


def test_less_than_a_day_and_nothing_at_all_are_refused(shell: Shell) -> None:
    shell.json("accounts", "create", "rudolf")

    short = shell.refused("accounts", "set-retention", "rudolf", "--images-h", "23", *WHY)
    silent = shell.refused("accounts", "set-retention", "rudolf", *WHY)
    wrong = shell.run("accounts", "set-retention", "rudolf", "--prompts-h", "a while", *WHY)

    assert "24" in short["message"]
    assert "how long" in silent["message"]
    assert wrong.code == 2


def test_keep_alive_is_set_listed_and_kept_by_a_new_key(shell: Shell) -> None:
    shell.json("accounts", "create", "kate")
    made = shell.json("keys", "create", "--account", "kate", "--env", "test", "--keepalive")
    other = shell.json("keys", "create", "--account", "kate", "--env", "test")

    on = shell.json("keys", "set-keepalive", other["id"], "on", *WHY)
    new = shell.json("keys", "rotate", made["id"], *WHY)
    off = shell.json("keys", "set-keepalive", made["id"], "off", *WHY)
    wrong = shell.run("keys", "set-keepalive", made["id"], "perhaps", *WHY)

    assert [key["keepalive"] for key in (made, other, on, new, off)] == [True, False, True, True, False]
    assert wrong.code == 2
    listed = shell.json("keys", "list", "--account", "kate")["keys"]
    assert [key["keepalive"] for key in listed] == [False, True, True]
