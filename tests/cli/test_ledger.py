from imagegate.db.embedded import EmbeddedPostgres
from tests.cli.conftest import Shell, beside


def test_the_ledger_is_proved_and_a_changed_balance_is_named(shell: Shell, server: EmbeddedPostgres) -> None:
    apart = beside(shell, server, "ledger")
    assert apart.json("db", "upgrade")["status"] == "current"
    account = apart.json("accounts", "create", "kurt")["id"].removeprefix("acc_")

    proved = apart.json("ledger", "verify")
    assert (proved["ok"], proved["violations"], proved["broken"]["I2"]) == (True, [], 0)
    assert proved["checked"]["transfers"] == 1

    aloud = apart.run("ledger", "verify")
    assert aloud.code == 0
    assert "The ledger holds. Checked in " in aloud.out
    checks = [line for line in aloud.err.splitlines() if line.split(":")[0].endswith(" I2")]
    assert [line.split("/")[0] for line in checks] == ["2", "3"]

    assert apart.run("db", "shell", "-c", "UPDATE wallets SET posted_tokens = 7 WHERE env = 'live'").code == 0
    broken = apart.run("ledger", "verify")
    assert broken.code == 1
    assert "I2" in broken.out
    assert account in broken.out.replace("-", "")
    assert apart.run("ledger", "verify", "--json").json["broken"]["I2"] >= 1
    kept = apart.run("db", "shell", "-c", "SELECT value FROM instance WHERE name = 'ledger_proof'")
    assert '"violations": 1' in kept.out


def test_the_shell_is_psql_as_the_owner(shell: Shell) -> None:
    said = shell.run("db", "shell", "-c", "SELECT current_user, 6 * 7 AS answer")

    assert said.code == 0
    assert said.out.splitlines()[2].split() == ["imagegate", "|", "42"]
    assert shell.run("db", "shell", "-c", "SELECT nonsense").code == 1
