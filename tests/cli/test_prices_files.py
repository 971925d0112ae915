"""Prices as files: out, changed, looked at, and in again; all of it or nothing."""

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Shell

SONNET, PRO, FLEX = "xai/grok-imagine-image", "black-forest-labs/flux-2-pro", "black-forest-labs/flux-2-flex"
NANO = "google/gemini-2.5-flash-image"
HEAD = "model,item,size,quality,tokens\n"


def priced(shell: Shell, model: str) -> dict[str, Any]:
    (price,) = shell.json("prices", "list", model)["prices"]
    return dict(price)


def save(shell: Shell, name: str, text: str) -> str:
    (shell.home / name).write_text(text)
    return name


def test_what_is_exported_changes_nothing_when_it_is_imported(shell: Shell) -> None:
    shell.json("prices", "export", "--format", "yaml", "-o", "all.yaml")
    save(shell, "all.csv", shell.run("prices", "export").out)

    for name in ("all.yaml", "all.csv"):
        answer = shell.json("prices", "import", name, "--reason", "again", "--yes")
        assert (answer["changes"], answer["published"]) == ([], [])
        assert FLEX in (shell.home / name).read_text()


def test_a_file_is_shown_as_a_difference_and_published_only_with_yes(shell: Shell) -> None:
    shell.json("prices", "set", PRO, "--tokens", "40000", "--reason", "a start")
    before = priced(shell, PRO)
    name = save(shell, "dearer.csv", f"{HEAD}flux-2-pro,image,,,50000\nflux-2-pro,input_megapixel,,,15000\n")

    looked = shell.run("prices", "import", name, "--reason", "dearer")

    assert looked.code == 0
    assert "+25.0" in looked.out
    assert "--yes" in looked.out
    assert priced(shell, PRO) == before
    answer = shell.json("prices", "import", name, "--reason", "dearer", "--yes")
    assert answer["changes"] == [
        {
            "model": PRO, "item": "image", "size": None, "quality": None,
            "old_tokens": 40_000, "new_tokens": 50_000, "percent": "+25.0",
        }
    ]  # fmt: skip
    after = priced(shell, PRO)
    assert (after["version"], after["reason"], after["source"]) == (
        before["version"] + 1, "dearer", "file dearer.csv"
    )  # fmt: skip


def test_what_is_wrong_or_not_allowed_is_refused_whole(shell: Shell) -> None:
    before = priced(shell, SONNET)
    wrong = f"{HEAD}{SONNET},image,,,1\nxai/grok-imagin-image,image,,,1\n{SONNET},image,1024x1024,,1.5\n"
    free = f"{HEAD}{SONNET},image,,,0\n"

    error = shell.refused("prices", "import", save(shell, "wrong.csv", wrong), "--reason", "r", "--yes")
    assert "line 3:" in error["message"]
    assert "line 4:" in error["message"]
    error = shell.refused("prices", "import", save(shell, "free.csv", free), "--reason", "r", "--yes")
    assert "--allow-zero" in error["message"]
    assert (
        "--allow-zero" in shell.refused("prices", "set", SONNET, "--tokens", "0", "--reason", "r")["message"]
    )
    assert priced(shell, SONNET) == before
    gift = shell.json("prices", "set", SONNET, "--tokens", "0", "--reason", "a gift", "--allow-zero")
    assert gift["prices"][0]["tokens"] == 0


def test_litellms_list_is_converted_by_the_settings_and_says_so_first(shell: Shell) -> None:
    entries = {
        "gemini/gemini-2.5-flash-image": {
            "litellm_provider": "gemini", "mode": "image_generation", "output_cost_per_image": 0.06
        },
        "aiml/flux-pro": {
            "litellm_provider": "aiml", "mode": "image_generation", "output_cost_per_image": 0.05
        },
        "gpt-5": {"litellm_provider": "openai", "mode": "chat"},
    }  # fmt: skip
    name = save(shell, "model_prices_and_context_window.json", json.dumps(entries))
    taka = shell.having(
        IMAGEGATE_CURRENCY="BDT",
        IMAGEGATE_CURRENCY_PER_USD="120",
        IMAGEGATE_TOKENS_PER_CURRENCY_UNIT="500",
        IMAGEGATE_MARKUP_PERCENT="50",
    )

    looked = taka.run("prices", "import-litellm", name, "--reason", "list", "--json", "--yes")

    answer = looked.json
    assert "1 USD = 120 BDT, markup 50 %, 500 tokens per BDT: 90,000 tokens" in looked.err
    assert "skipped aiml/flux-pro" in looked.err
    assert [(c["model"], c["new_tokens"]) for c in answer["changes"]] == [(NANO, 5_400)]
    assert [skipped["name"] for skipped in answer["skipped"]] == ["aiml/flux-pro"]
    assert answer["not_image_models"] == 1
    assert answer["published"][0]["source"].startswith("LiteLLM price list")


def test_a_price_from_a_day_on_is_in_the_history_and_not_yet_in_force(shell: Shell) -> None:
    model = "ideogram/ideogram-v4"

    dated = shell.json(
        "prices", "set", model, "--tokens", "9", "--reason", "new year", "--valid-from", "2190-01-01"
    )
    said = shell.run("prices", "set", model, "--tokens", "90000", "--reason", "till then")

    assert dated["valid_from"] == "2190-01-01T00:00:00Z"
    assert f"Version {dated['version']}" in said.err
    listed = shell.json("prices", "history", model)["prices"]
    assert [(p["version"], p["coming"]) for p in listed[:3]] == [(3, False), (2, True), (1, False)]
    assert priced(shell, model)["version"] == dated["version"] + 1
    past = ("--valid-from", "2020-01-01")
    assert "past" in shell.refused("prices", "set", model, "--tokens", "9", "--reason", "r", *past)["message"]
    zoneless = ("--valid-from", "2190-01-01T09:00:00")
    assert shell.run("prices", "set", model, "--tokens", "9", "--reason", "r", *zoneless).code == 2


def test_a_preview_reckons_the_last_days(shell: Shell, tmp_path: Path) -> None:
    shell.json("accounts", "create", "previewer")
    drawn = shell.run(
        "image", "a cat", "-m", "dall-e-3", "-n", "2", "-q", "standard",
        "--account", "previewer", "--env", "test", "-o", str(tmp_path / "cat.png"),
    )  # fmt: skip
    assert drawn.code == 0, drawn

    found = shell.json("prices", "preview", "--set", "dall-e-3", "--tokens", "1000", "--env", "test")

    (line,) = [line for line in found["models"] if line["model"] == "openai/dall-e-3"]
    assert line["would_cost_tokens"] == 1_000 * line["images"] >= 2_000
    assert line["difference_tokens"] == line["would_cost_tokens"] - line["charged_tokens"] < 0
    name = save(shell, "cheap.csv", f"{HEAD}dall-e-3,image,,,1000\n")
    said = shell.run("prices", "preview", name, "--env", "test")
    assert f"The last 7 days would have cost {found['total']['would_cost_tokens']:,} tokens" in said.out
    assert shell.run("prices", "preview").code == 2


def test_a_check_fails_when_something_is_sold_below_cost(shell: Shell) -> None:
    seller = shell.having(IMAGEGATE_OPENAI_API_KEY="sk-none")
    model = "openai/gpt-image-2"
    shell.json("prices", "set", model, "--tokens", "1", "--reason", "a slip")

    said = seller.run("prices", "check", "--json")

    assert said.code == 1
    found = [finding for finding in said.json["findings"] if finding["model"] == model]
    assert {(finding["kind"], finding["price_usd"]) for finding in found} == {("below_cost", "0.000001")}


def test_a_price_goes_by_usage_where_every_bound_is_given(shell: Shell) -> None:
    seller = shell.having(IMAGEGATE_OPENAI_API_KEY="sk-none")
    rates = ("--text-in", "2000000", "--image-in", "2500000", "--output", "8000000", "--prompt-bound", "9000")
    usage = ("prices", "set-usage", "gpt-image-1-mini", *rates, "--reason", "by usage")

    error = seller.refused(*usage, "--bound", "1024x1024:hd=4160", "--yes")
    assert "1536x1024 high has no bound" in error["message"]
    assert seller.run(*usage, "--bound", "big").code == 2
    (price,) = seller.json(*usage, "--bound", "any=6240", "--yes")["published"]

    assert (price["unit"], price["per_token"]["bounds"]) == (
        "token", [{"size": None, "quality": None, "tokens": 6_240}]
    )  # fmt: skip
    assert "by usage" in shell.run("prices", "list", "gpt-image-1-mini").out
    (model,) = seller.json("models", "gpt-image-1-mini")["models"]
    assert model["price_from_tokens"] == 6_240 * 8 + 9_000 * 2
