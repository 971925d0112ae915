import csv
import io

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


def test_a_reference_with_another_amount_is_refused_and_the_same_one_is_told(shell: Shell) -> None:
    shell.json("accounts", "create", "olga")
    paid = ("wallets", "top-up", "--account", "olga", "--reason", "invoice 8", "--external-ref", "pi_8")
    shell.json(*paid, "--tokens", "500")

    again = shell.run(*paid, "--tokens", "500")
    error = shell.refused(*paid, "--tokens", "501")

    assert (again.code, "nothing was added" in again.err) == (0, True)
    assert error["code"] == "external_ref_reused"
    assert shell.json("wallets", "show", "--account", "olga")["posted_tokens"] == 500


def test_a_wallet_is_corrected_by_hand_but_not_below_zero(shell: Shell) -> None:
    shell.json("accounts", "create", "iris")
    correct = ("wallets", "adjust", "--account", "iris", "--reason", "miscounted", "--tokens")

    assert shell.json(*correct, "900")["posted_tokens"] == 900
    assert shell.json(*correct, "-300")["posted_tokens"] == 600
    assert shell.refused(*correct, "-601")["code"] == "wallet_too_low"
    assert shell.refused(*correct, "0")["code"] == "invalid_value"
    assert shell.json("wallets", "show", "--account", "iris")["posted_tokens"] == 600


def test_a_statement_lists_what_moved_newest_first(shell: Shell) -> None:
    shell.json("accounts", "create", "lena")
    for tokens in ("900", "-300", "50"):
        shell.json(
            "wallets", "adjust", "--account", "lena", "--reason", f"{tokens} it is", "--tokens", tokens
        )
    ask = ("wallets", "statement", "--account", "lena")

    first = shell.json(*ask, "--limit", "2")
    rest = shell.json(*ask, "--after", str(first["next_after"]))

    assert [line["tokens"] for line in first["transfers"] + rest["transfers"]] == [50, -300, 900]
    assert [line["balance_after"] for line in first["transfers"]] == [650, 600]
    assert (first["next_after"], rest["next_after"]) == (2, None)
    assert first["transfers"][0]["reason"] == "50 it is"
    text = shell.run(*ask, "--limit", "2")
    assert text.code == 0
    assert "-300" in text.out
    assert "--after 2" in text.err
    rows = list(csv.DictReader(io.StringIO(shell.run(*ask, "--csv").out)))
    assert [(row["version"], row["kind"], row["tokens"]) for row in rows] == [
        ("3", "adjust", "50"),
        ("2", "adjust", "-300"),
        ("1", "adjust", "900"),
    ]
    assert shell.run(*ask, "--csv", "--json").code == 2


def test_a_statement_of_an_empty_wallet_says_so(shell: Shell) -> None:
    shell.json("accounts", "create", "nora")

    assert "Nothing has moved" in shell.run("wallets", "statement", "--account", "nora").out
    assert shell.json("wallets", "statement", "--account", "nora") == {"transfers": [], "next_after": None}
    assert shell.refused("wallets", "statement", "--account", "nobody at all")["code"] == "not_found"
