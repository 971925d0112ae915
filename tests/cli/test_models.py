from tests.cli.conftest import Shell


def test_models_tell_sellers_sizes_and_tokens(shell: Shell) -> None:
    listed = {model["id"]: model for model in shell.json("models")["models"]}

    sandbox = listed["imagegate/sandbox"]
    assert (sandbox["available"], sandbox["providers"], sandbox["retired"]) == (True, ["sandbox"], False)
    assert sandbox["price_to_tokens"] == 30_000 or sandbox["price_from_tokens"] == 30_000
    assert listed["openai/dall-e-3"]["retired"] is True
    assert listed["openai/dall-e-3"]["successor"]


def test_a_key_of_a_provider_makes_its_models_available(shell: Shell) -> None:
    (model,) = shell.having(IMAGEGATE_OPENAI_API_KEY="sk-1").json("models", "gpt-image-1")["models"]

    assert (model["available"], model["configured_providers"]) == (True, ["openai"])


def test_an_unknown_model_is_answered_with_what_was_meant(shell: Shell) -> None:
    error = shell.refused("models", "dall-e-33")

    assert error["code"] == "model_not_found"
    assert "openai/dall-e-3" in error["message"]


def test_without_a_verb_models_are_listed_wherever_json_stands(shell: Shell) -> None:
    one = shell.json("models", "list", "sandbox")

    for args in (
        ("models", "sandbox", "--json"),
        ("--json", "models", "sandbox"),
        ("models", "--json", "sandbox"),
    ):
        assert shell.run(*args).json == one
    assert "imagegate/sandbox" in shell.run("models", "sandbox").out
    assert "disable" in shell.run("models", "--help").out


def test_a_model_is_disabled_and_enabled(shell: Shell) -> None:
    disabled = shell.json("models", "disable", "gpt-image-1", "--reason", "too dear")
    (listed,) = shell.json("models", "gpt-image-1")["models"]
    refused = shell.refused("image", "a cat", "-m", "gpt-image-1")
    enabled = shell.json("models", "enable", "gpt-image-1", "--reason", "cheaper")

    assert (disabled["rule"]["rule"], disabled["rule"]["reason"]) == ("disabled", "too dear")
    assert (listed["available"], listed["served_by"]) == (False, None)
    assert refused["code"] == "model_not_found"
    assert "openai/gpt-image-1 is disabled" in refused["message"]
    assert (enabled["rule"], enabled["served_by"]) == (None, "openai/gpt-image-1")
    entries = shell.json("audit", "list", "--action", "models.disable")["entries"]
    assert (entries[0]["target"], entries[0]["reason"]) == ("openai/gpt-image-1", "too dear")


def test_a_model_is_redirected_and_has_another_name(shell: Shell) -> None:
    shell.json("models", "redirect", "gpt-image-1-mini", "sandbox", "--reason", "r")
    named = shell.json("models", "alias", "gpt-image-1-mini", "pretty", "--reason", "r")
    circle = shell.refused("models", "redirect", "sandbox", "pretty", "--reason", "r")
    rules = shell.json("models", "rules")["rules"]
    said = shell.run("models", "pretty").out
    shell.json("models", "enable", "pretty", "--reason", "r")
    gone = shell.json("models", "unalias", "pretty", "--reason", "r")

    assert (named["served_by"], named["aliases"]) == ("imagegate/sandbox", ["pretty"])
    assert "circle" in circle["message"]
    assert [(rule["name"], rule["target"]) for rule in rules] == [
        ("openai/gpt-image-1-mini", "imagegate/sandbox"),
        ("pretty", "openai/gpt-image-1-mini"),
    ]
    assert "redirected to imagegate/sandbox" in said
    assert gone["target"] == "openai/gpt-image-1-mini"
    assert shell.refused("models", "pretty")["code"] == "model_not_found"
    assert shell.json("models", "rules") == {"rules": []}
