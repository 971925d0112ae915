from tests.cli.conftest import Shell


def drawn(shell: Shell, account: str, prompt: str = "a red fox", *, n: int = 1) -> str:
    made = shell.json("image", prompt, "-m", "sandbox", "-s", "256x256", "-n", str(n), "--account", account)
    named: str = made["id"]
    return named


def test_they_are_listed_and_one_is_shown_with_its_price(shell: Shell) -> None:
    shell.json("accounts", "create", "marie")
    first, second = drawn(shell, "marie"), drawn(shell, "marie", n=2)

    listed = shell.json("generations", "list", "--account", "marie", "--limit", "1")
    rest = shell.json("generations", "list", "--account", "marie", "--after", listed["next"], "--since", "1h")
    shown = shell.json("generations", "show", second)
    text = shell.run("generations", "show", second).out

    assert [[g["id"] for g in page["generations"]] for page in (listed, rest)] == [[second], [first]]
    assert (listed["next"], rest["next"]) == (second, None)
    assert shown["bill"]["charged_tokens"] == shown["charged_tokens"] == 10_000
    assert [line["tokens"] for line in shown["bill"]["lines"]] == ["5000", "10000", "10000", "10000", "10000"]
    for line in (
        f"{second}  completed",
        "delivered: 2 × 5000",
        "price version 1 of imagegate/sandbox",
        "capture",
    ):
        assert line in text
    assert first in shell.run("generations", "list", "--account", "marie", "--model", "sandbox").out


def test_a_charge_is_given_back_once_a_cause(shell: Shell) -> None:
    shell.json("accounts", "create", "lotte")
    named = drawn(shell, "lotte")
    why = ("--cause", "ticket 7", "--reason", "a blurred picture")

    first = shell.json("generations", "refund", named, *why, "--tokens", "2000")
    again = shell.run("generations", "refund", named, *why)
    refused = shell.refused(
        "generations", "refund", named, "--cause", "b", "--reason", "c", "--tokens", "3001"
    )

    assert (first["tokens"], first["refunded_tokens"], first["new"]) == (2_000, 2_000, True)
    assert "refunded before" in again.err
    assert refused["code"] == "refund_too_high"
    wallet = shell.json("wallets", "show", "--account", "lotte", "--env", "test")
    assert wallet["available_tokens"] == 99_997_000
    assert "refund ticket 7: a blurred picture" in shell.run("generations", "show", named).out


def test_a_purge_removes_prompt_and_files(shell: Shell) -> None:
    shell.json("accounts", "create", "sophie")
    named = drawn(shell, "sophie", "a secret fox")
    kept = list(shell.data_dir.glob(f"images/*/test/*/{named.removeprefix('gen_')}.*"))

    first = shell.json("generations", "purge", named, "--reason", "asked to forget")
    again = shell.json("generations", "purge", named, "--reason", "once more")

    assert (len(kept), kept[0].exists()) == (1, False)
    assert (first["objects"], again["objects"], again["purged_at"]) == (1, 0, first["purged_at"])
    shown = shell.run("generations", "show", named)
    assert "secret" not in shown.out
    assert "prompt and images are gone" in shown.out
    assert shell.json("generations", "show", named)["charged_tokens"] == 5_000


def test_what_is_wrong_is_said(shell: Shell) -> None:
    assert shell.refused("generations", "show", "gen_" + "0" * 32)["code"] == "not_found"
    assert shell.refused("generations", "list", "--after", "fox")["code"] == "not_found"
    assert shell.refused("generations", "list", "--id", "fox")["code"] == "invalid_value"
    assert shell.run("generations", "list", "--since", "soon").code == 2
