from tests.cli.conftest import Shell

SECRET = "Zr8VbQ4mJ0sYw2eLpXc6NfHd1GuAo3RiTy9KzMtk"


def test_config_show_tells_value_source_and_default_and_masks_secrets(shell: Shell) -> None:
    (shell.home / ".env").write_text(
        "IMAGEGATE_CURRENCY=EUR\nIMAGEGATE_CURRENCY_PER_USD=0.9\nIMAGEGATE_PORT=1\n"
    )
    changed = shell.having(
        IMAGEGATE_SECRET=SECRET,
        IMAGEGATE_PORT="9000",
        IMAGEGATE_OPENAI_API_KEY="sk-secret-of-ours",
        IMAGEGATE_STORE_URL="s3://id:hush@bucket/images",
    )
    try:
        said = changed.run("config", "show", "--json")
        plain = changed.run("config", "show")
    finally:
        (shell.home / ".env").unlink()

    shown = {setting.pop("name"): setting for setting in said.json["settings"]}
    assert shown["IMAGEGATE_PORT"] == {"value": 9000, "source": "env", "default": 8080}
    assert shown["IMAGEGATE_CURRENCY"] == {"value": "EUR", "source": ".env", "default": "USD"}
    assert shown["IMAGEGATE_HOST"] == {"value": "127.0.0.1", "source": "default", "default": "127.0.0.1"}
    assert shown["IMAGEGATE_SECRET"]["value"] == shown["IMAGEGATE_OPENAI_API_KEY"]["value"] == "********"
    for text in (said.out, plain.out):
        assert SECRET not in text
        assert "sk-secret-of-ours" not in text
        assert "hush" not in text


def test_a_wrong_setting_is_named_without_a_traceback(shell: Shell) -> None:
    wrong = shell.having(IMAGEGATE_PORT="eighty", IMAGEGATE_DRAIN_S="-1")

    message = wrong.refused("config", "show")["message"]

    assert "IMAGEGATE_PORT" in message
    assert "IMAGEGATE_DRAIN_S" in message
