from tests.cli.conftest import Shell


def test_an_offering_is_preferred_listed_and_taken_back(shell: Shell) -> None:
    name = ("gpt-image-2", "--provider", "openai")
    made = shell.json("models", "prefer", *name, "--rank", "2", "--weight", "30", "--reason", "reliable")
    said = shell.run("models", "preferences").out
    listed = shell.json("models", "preferences")["preferences"]
    gone = shell.run("models", "unprefer", *name, "--reason", "no more").out

    assert (made["model"], made["provider"], made["rank"], made["weight"]) == (
        "openai/gpt-image-2",
        "openai",
        2,
        30,
    )
    assert "reliable" in said
    assert listed == [made]
    assert "openai/gpt-image-2 by openai: the catalogue counts again" in gone
    assert shell.json("models", "preferences") == {"preferences": []}
    assert shell.refused("models", "unprefer", *name, "--reason", "r")["code"] == "not_found"
    entries = shell.json("audit", "list", "--action", "models.prefer")["entries"]
    assert (entries[0]["target"], entries[0]["reason"]) == ("openai:openai/gpt-image-2", "reliable")


def test_a_model_is_preferred_among_models_by_a_number_that_can_be(shell: Shell) -> None:
    low = shell.refused("models", "prefer", "sandbox", "--rank", "0", "--reason", "r")
    none = shell.refused("models", "prefer", "sandbox", "--reason", "r")
    said = shell.run("models", "prefer", "sandbox", "--weight", "5", "--reason", "r").out
    shell.json("models", "unprefer", "sandbox", "--reason", "r")

    assert "1 (the best) to 10000" in low["message"]
    assert "a rank, a weight" in none["message"]
    assert "imagegate/sandbox: weight 5" in said
