from typing import Any

from tests.cli.conftest import Shell


def cells(price: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(cell["size"], cell["quality"]): cell["tokens"] for cell in price["prices"]}


def test_a_price_is_set_as_a_new_version_and_the_old_qualities_are_understood(shell: Shell) -> None:
    (before,) = shell.json("prices", "list", "dall-e-3")["prices"]
    assert cells(before)["1024x1024", "high"] == 80_000

    change = ("--size", "1024x1024", "--quality", "hd", "--tokens", "90000", "--reason", "dearer")
    changed = shell.json("prices", "set", "dall-e-3", *change)

    assert (changed["model"], changed["version"]) == ("openai/dall-e-3", before["version"] + 1)
    assert changed["actor"].startswith("cli:")
    (after,) = shell.json("prices", "list", "openai/dall-e-3")["prices"]
    assert cells(after) == {**cells(before), ("1024x1024", "high"): 90_000}


def test_a_model_whose_price_has_ended_cannot_be_bought(shell: Shell) -> None:
    assert shell.json("prices", "end", "dall-e-2", "--reason", "retired")["ended"] is True

    (model,) = shell.json("models", "dall-e-2")["models"]
    assert (model["price_from_tokens"], model["available"]) == (None, False)
    error = shell.refused("image", "a cat", "-m", "dall-e-2")
    assert error["code"] == "model_not_priced"
    assert "imagegate prices set" in error["message"]
    assert shell.refused("prices", "end", "dall-e-2", "--reason", "again")["code"] == "operator_error"


def test_a_quality_that_the_model_has_not_is_refused(shell: Shell) -> None:
    error = shell.refused("prices", "set", "sandbox", "--quality", "ultra", "--tokens", "1", "--reason", "r")

    assert "ultra" in error["message"]
