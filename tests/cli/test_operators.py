from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Shell


def test_an_operator_key_is_shown_once_listed_and_revoked(shell: Shell) -> None:
    made = shell.json(
        "operators", "create", "billing", "--scope", "wallets:write", "--scope", "read", "--expires", "30d"
    )
    plain = made["key"]

    assert plain.startswith("igo_")
    assert made["id"].startswith("opk_")
    assert made["scopes"] == ["read", "wallets:write"]
    until = datetime.fromisoformat(made["expires_at"])
    assert timedelta(days=29, hours=23) < until - datetime.now(UTC) <= timedelta(days=30)

    listed = shell.run("operators", "list", "--json")
    assert plain not in listed.out
    assert [(o["name"], o["hint"], o["status"]) for o in listed.json["operators"]] == [
        ("billing", plain[-4:], "active")
    ]

    revoked = shell.json("operators", "revoke", made["id"], "--reason", "left the team")
    assert (revoked["id"], revoked["status"]) == (made["id"], "revoked")
    (entry,) = shell.json("audit", "list", "--action", "operators.revoke")["entries"]
    assert (entry["target"], entry["reason"]) == (made["id"], "left the team")
    assert entry["actor"].startswith("cli:")
    assert plain not in shell.run("audit", "list", "--json").out


def test_a_scope_is_one_of_those_that_exist(shell: Shell) -> None:
    said = shell.run("operators", "create", "root", "--scope", "everything")

    assert said.code == 2
    assert "wallets:write" in said.err


def test_an_unknown_operator_key_is_refused(shell: Shell) -> None:
    error = shell.refused("operators", "revoke", "opk_" + "0" * 32, "--reason", "a test")

    assert error["code"] == "not_found"
