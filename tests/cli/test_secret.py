"""`imagegate secret`: by the command line, where the secret is a file of its own and where it is a setting."""

from tests.cli.conftest import SECRET, Shell


def test_a_new_secret_is_printed_and_is_good(shell: Shell) -> None:
    made = shell.json("secret", "new")["secret"]

    assert len(made) == 64
    assert shell.run("secret", "new").out.strip() != made


def test_a_machine_with_nothing_configured_changes_its_own_secret_and_forgets_the_old_one(
    embedded: Shell,
) -> None:
    embedded.json("accounts", "create", "anna")
    key = embedded.json("keys", "create", "--account", "anna", "--env", "live")["key"]
    path = embedded.data_dir / "secret"
    old = path.read_text()

    changed = embedded.json("secret", "rotate", "--reason", "a leak")
    status = embedded.json("secret", "status")
    both = path.read_text().split()
    refused = embedded.refused("secret", "forget")
    listed = embedded.run("keys", "list", "--account", "anna")
    embedded.json("secret", "forget", "--force")

    assert both[1:] == [old]
    assert changed == status
    assert status["newest_in_force"]
    assert status["older_secret_needed"]
    assert status["keys_under_an_older_secret"] == {"callers": 1, "operators": 0}
    assert refused["code"] == "older_secret_needed"
    assert "1 keys of callers" in refused["message"]
    assert key[-4:] in listed.out
    assert path.read_text() == both[0]
    assert path.stat().st_mode & 0o777 == 0o600
    assert embedded.json("secret", "status")["secrets_known"] == 1
    assert "secret.rotate" in embedded.run("audit", "list", "--json").out


def test_a_secret_that_is_a_setting_is_changed_by_settings_alone(shell: Shell) -> None:
    alone = shell.refused("secret", "rotate", "--reason", "a leak")
    forget = shell.refused("secret", "forget")
    weak = shell.having(IMAGEGATE_SECRET="change-me-please-0123456789-abcdefg").refused("accounts", "list")
    same = shell.having(IMAGEGATE_SECRET_PREVIOUS=SECRET).refused("accounts", "list")

    assert "IMAGEGATE_SECRET_PREVIOUS" in alone["message"]
    assert "IMAGEGATE_SECRET_PREVIOUS" in forget["message"]
    assert "can be guessed" in weak["message"]
    assert "imagegate secret new" in weak["message"]
    assert "the same as" in same["message"]
