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
