from tests.cli.conftest import Shell


def test_a_top_up_adds_tokens_and_a_reference_counts_once(shell: Shell) -> None:
    shell.json("accounts", "create", "rosa")
    paid = ("wallets", "top-up", "--account", "rosa", "--tokens", "2500000", "--reason", "invoice 7")
    referenced = (*paid, "--source", "stripe", "--external-ref", "pi_7")

    assert shell.json(*referenced)["available_tokens"] == 2_500_000
    assert shell.json(*referenced)["available_tokens"] == 2_500_000
    assert shell.json("--json", *paid)["available"] == 5.0


def test_a_top_up_needs_a_reason(shell: Shell) -> None:
    shell.json("accounts", "create", "emmy")

    error = shell.refused("wallets", "top-up", "--account", "emmy", "--tokens", "5", "--reason", " ")

    assert "reason" in error["message"]
    assert shell.json("wallets", "show", "--account", "emmy")["posted_tokens"] == 0


def test_json_before_the_verb_means_the_same(shell: Shell) -> None:
    said = shell.run("--json", "wallets", "show", "--account", "nobody-at-all")

    assert said.code == 1
    assert said.json["error"]["code"] == "not_found"
