from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Shell


def test_an_account_begins_with_the_test_grant_and_an_empty_live_wallet(shell: Shell) -> None:
    made = shell.json("accounts", "create", "ada")

    assert made["id"].startswith("acc_")
    assert made["name"] == "ada"
    test = shell.json("wallets", "show", "--account", "ada", "--env", "test")
    assert test == {
        "account": "ada",
        "env": "test",
        "posted_tokens": 100_000_000,
        "held_tokens": 0,
        "available_tokens": 100_000_000,
        "currency": "USD",
        "available": 100.0,
    }
    live = shell.json("wallets", "show", "--account", "ada")
    assert (live["env"], live["available_tokens"]) == ("live", 0)
    assert made["id"] in [account["id"] for account in shell.json("accounts", "list")["accounts"]]


def test_a_name_is_taken_once(shell: Shell) -> None:
    shell.json("accounts", "create", "grace")

    error = shell.refused("accounts", "create", "grace")

    assert error["code"] == "account_exists"
    assert "imagegate accounts list" in error["message"]


def test_a_key_is_shown_once_and_revoked_by_its_id(shell: Shell) -> None:
    shell.json("accounts", "create", "mary")
    made = shell.json(
        "keys", "create", "--account", "mary", "--env", "live", "--team", "art", "--expires", "30d"
    )
    plain = made["key"]

    assert plain.startswith("igk_live_")
    assert (made["account"], made["env"], made["team"]) == ("mary", "live", "art")
    until = datetime.fromisoformat(made["expires_at"])
    assert timedelta(days=29, hours=23) < until - datetime.now(UTC) <= timedelta(days=30)

    listed = shell.run("keys", "list", "--account", "mary", "--json")
    assert plain not in listed.out
    (key,) = listed.json["keys"]
    assert (key["id"], key["hint"], key["status"]) == (made["id"], plain[-4:], "active")

    assert shell.json("keys", "revoke", made["id"])["status"] == "revoked"
    (key,) = shell.json("keys", "list", "--account", "mary")["keys"]
    assert key["status"] == "revoked"


def test_a_bare_uuid_names_a_key_too_and_an_unknown_one_is_refused(shell: Shell) -> None:
    shell.json("accounts", "create", "joan")
    made = shell.json("keys", "create", "--account", "joan", "--env", "test", "--expires", "2099-01-31")

    assert made["expires_at"] == "2099-01-31T23:59:59Z"
    assert shell.json("keys", "revoke", made["id"].removeprefix("key_"))["id"] == made["id"]
    assert shell.refused("keys", "revoke", "key_" + "0" * 32)["code"] == "not_found"


def test_a_key_needs_an_account_and_the_error_says_how_to_make_one(shell: Shell) -> None:
    said = shell.run("keys", "create", "--account", "nobody", "--env", "test")

    assert (said.code, said.out) == (1, "")
    assert "imagegate accounts create 'nobody'" in said.err


def test_a_key_is_rotated_and_the_audit_log_tells_of_every_step(shell: Shell) -> None:
    account = shell.json("accounts", "create", "hedy", "--reason", "a new customer")
    old = shell.json("keys", "create", "--account", "hedy", "--env", "test", "--app", "radio")

    new = shell.json("keys", "rotate", old["id"], "--overlap", "90m", "--reason", "once a year")

    assert (new["app"], new["rotated_from"], new["key"] != old["key"]) == ("radio", old["id"], True)
    left = datetime.fromisoformat(new["replaces"]["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=88) < left <= timedelta(minutes=90)
    shell.json("keys", "revoke", old["id"])
    shell.json("accounts", "close", "hedy", "--reason", "they left")
    (listed,) = [a for a in shell.json("accounts", "list")["accounts"] if a["name"] == "hedy"]
    assert listed["closed_at"] is not None
    said = shell.run("audit", "list", "--account", "hedy", "--json")
    assert [(entry["action"], entry["target"], entry["reason"]) for entry in said.json["entries"]] == [
        ("accounts.close", account["id"], "they left"),
        ("keys.revoke", old["id"], "by command line"),
        ("keys.rotate", new["id"], "once a year"),
        ("keys.create", old["id"], "by command line"),
        ("accounts.create", account["id"], "a new customer"),
    ]
    assert old["key"] not in said.out
    assert new["key"] not in said.out


def test_what_is_no_time_is_wrong_use(shell: Shell) -> None:
    said = shell.run("keys", "rotate", "key_0", "--overlap", "soon", "--reason", "a test")

    assert said.code == 2
    assert shell.run("audit", "list", "--since", "yesterday").code == 2
