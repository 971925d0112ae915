"""`imagegate estimate`: what a request would cost, without a server and without a trace."""

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.long

MODEL = "openai/gpt-image-2.5-flare"


def test_an_estimate_says_what_would_be_held_and_moves_nothing(shell: Shell) -> None:
    shell.json("accounts", "create", "frugal")
    wanted = ("estimate", "two foxes", "-m", "sandbox", "-s", "256x256", "-n", "2", "--account", "frugal")

    shown = shell.json(*wanted)
    text = shell.run(*wanted).out

    assert (shown["model"], shown["hold_tokens"], shown["providers"]) == (
        "imagegate/sandbox",
        10_000,
        ["sandbox"],
    )
    assert [part["quantity"] for part in shown["components"]] == [2]
    assert shown["components"][0]["total_cost"] == 0.01
    assert (shown["account"], shown["available_tokens"]) == ("frugal", 100_000_000)
    assert "10,000 tokens would be held" in text
    assert "which suffices" in text
    wallet = shell.json("wallets", "show", "--account", "frugal", "--env", "test")
    assert (wallet["available_tokens"], wallet["held_tokens"]) == (100_000_000, 0)
    assert shell.json("keys", "list", "--account", "frugal")["keys"] == []


def test_an_estimate_is_what_the_image_then_costs(shell: Shell) -> None:
    shell.json("accounts", "create", "exact")
    wanted = ("a fox", "-m", "sandbox", "-s", "512x256", "--account", "exact")

    shown, made = shell.json("estimate", *wanted), shell.json("image", *wanted)

    assert shown["hold_tokens"] == made["charged_tokens"] > 0


def test_quality_and_pictures_count(shell: Shell) -> None:
    shell.json("image", "a fox", "-m", "sandbox", "-s", "256x256", "-o", "estimated.png")

    low, high = (
        shell.json("estimate", "a fox", "-m", MODEL, "-q", q)["hold_tokens"] for q in ("low", "high")
    )
    edit = shell.json("estimate", "a fox", "-m", MODEL, "-q", "low", "--image", "estimated.png")

    assert low < high
    assert edit["hold_tokens"] > low


def test_an_empty_wallet_and_ignored_words_are_told(shell: Shell) -> None:
    shell.json("accounts", "create", "penniless")
    having = shell.having(IMAGEGATE_OPENAI_API_KEY="sk-0123456789abcdef")

    said = having.run("estimate", "a fox", "-m", MODEL, "--account", "penniless", "--env", "live")

    assert said.code == 0, said
    assert "asked in order: openai" in said.out
    assert "0 tokens available, TOO LITTLE" in said.out


def test_what_is_wrong_is_said(shell: Shell) -> None:
    shell.json("accounts", "create", "henriette")

    model = shell.refused("estimate", "a fox", "-m", "sandbux")
    account = shell.refused("estimate", "a fox", "--account", "henriete")
    nobody = shell.refused("estimate", "a fox", "-m", MODEL, "--env", "live")

    assert model["code"] == "model_not_found"
    assert "Did you mean" in model["message"]
    assert "imagegate models" in model["message"]
    assert account["code"] == "not_found"
    assert "Did you mean 'henriette'?" in account["message"]
    assert nobody["code"] == "no_provider_configured"
    assert shell.run("estimate", "a fox", "-s", "big").code == 2
    assert shell.run("estimate", "a fox", "--image", "nowhere.png").code == 2
    assert shell.run("estimate").code == 2
