from pathlib import Path

from PIL import Image

from tests.cli.conftest import Shell

FIRST_BYTES = {"png": b"\x89PNG", "jpg": b"\xff\xd8\xff", "webp": b"RIFF"}


def test_an_image_costs_30_000_tokens_and_lies_in_a_file(shell: Shell) -> None:
    shell.json("accounts", "create", "ida")

    made = shell.json("image", "A red fox, sleeping", "-m", "sandbox", "--account", "ida")

    (file,) = made["files"]
    assert (made["model"], made["charged_tokens"], made["account"]) == ("imagegate/sandbox", 30_000, "ida")
    path = shell.home / file["path"]
    assert path.name == "a-red-fox-sleeping.png"
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", (1024, 1024))
    wallet = shell.json("wallets", "show", "--account", "ida", "--env", "test")
    assert (wallet["available_tokens"], wallet["held_tokens"]) == (99_970_000, 0)
    assert made["balance_tokens"] == 99_970_000


def test_several_images_are_numbered_and_encoded_as_their_name_says(shell: Shell) -> None:
    made = shell.json("image", "two owls", "-n", "2", "-s", "256x256", "-o", "owls.webp")

    assert [file["path"] for file in made["files"]] == ["owls-1.webp", "owls-2.webp"]
    assert (made["charged_tokens"], made["account"], made["env"]) == (10_000, "demo", "test")
    for file in made["files"]:
        assert (shell.home / file["path"]).read_bytes().startswith(FIRST_BYTES["webp"])


def test_the_extension_follows_the_format_and_the_key_is_used_again(shell: Shell) -> None:
    shell.json("accounts", "create", "lise")
    for target in ("one.png", "two"):
        wanted = ("-s", "256x256", "--account", "lise", "-o", target, "--format", "jpeg")
        (file,) = shell.json("image", "an atom", *wanted)["files"]
        assert file["path"] == f"{Path(target).stem}.jpg"
        assert (shell.home / file["path"]).read_bytes().startswith(FIRST_BYTES["jpg"])

    (key,) = shell.json("keys", "list", "--account", "lise")["keys"]
    assert key["app"] == "cli"


def test_without_tokens_nothing_is_drawn_and_the_next_command_is_named(shell: Shell) -> None:
    shell.json("accounts", "create", "poor")

    said = shell.run(
        "image", "a castle", "-m", "sandbox", "--account", "poor", "--env", "live", "-o", "castle.png"
    )

    assert (said.code, said.out) == (1, "")
    assert "imagegate wallets top-up" in said.err
    assert not (shell.home / "castle.png").exists()
