"""`imagegate edit`: pictures from pictures, by the shell."""

from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Shell

OF = ("-m", "sandbox", "-s", "256x256", "--account", "ella")


@pytest.fixture(scope="module")
def drawn(shell: Shell) -> str:
    """The id of a generation whose picture lies in `fox.png`."""
    shell.json("accounts", "create", "ella")
    made = shell.json("image", "a fox", *OF, "-o", "fox.png")
    named: str = made["id"]
    return named


def test_files_and_a_mask_become_a_picture(shell: Shell, drawn: str) -> None:
    Image.new("RGBA", (256, 256), (0, 0, 0, 0)).save(shell.home / "mask.png")

    made = shell.json("edit", "fox.png", "fox.png", "two foxes", "--mask", "mask.png", *OF, "-o", "two.png")

    (file,) = made["files"]
    assert (file["path"], made["account"], made["env"]) == ("two.png", "ella", "test")
    with Image.open(shell.home / "two.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))
    shown = shell.json("generations", "show", made["id"])
    assert len(shown["request"]["images"]) == 2
    assert "mask" in shown["request"]
    assert shown["charged_tokens"] == made["charged_tokens"] > 0


def test_an_image_that_was_made_is_named_by_its_id(shell: Shell, drawn: str) -> None:
    said = shell.run("edit", f"{drawn}_0", "a blue fox", *OF)

    assert said.code == 0, said
    assert "a-blue-fox.png" in said.out
    assert "tokens charged" in said.out


def test_what_is_no_picture_costs_nothing(shell: Shell, drawn: str) -> None:
    (shell.home / "words.txt").write_text("no picture")
    before = shell.json("wallets", "show", "--account", "ella", "--env", "test")

    missing = shell.run("edit", "nowhere.png", "a fox", *OF)
    words = shell.refused("edit", "words.txt", "a fox", *OF)
    alone = shell.run("edit", "fox.png")
    folder = shell.run("edit", "fox.png", "a fox", "-o", str(Path("nowhere") / "fox.png"))

    assert (missing.code, alone.code, folder.code) == (2, 2, 2)
    assert "nowhere.png cannot be read" in " ".join(missing.err.replace("│", " ").split())
    assert words["code"] == "invalid_image"
    assert shell.json("wallets", "show", "--account", "ella", "--env", "test") == before
