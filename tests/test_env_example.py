from pathlib import Path

from dotenv import dotenv_values

from imagegate.cli.config import fields, write_example
from imagegate.settings import PREFIX, load_settings

EXAMPLE = Path(__file__).parent.parent / ".env.example"


def test_the_example_holds_every_setting_with_its_default() -> None:
    assert EXAMPLE.read_text() == write_example(), "write it anew: imagegate config example > .env.example"


def test_the_example_s_values_are_the_defaults_when_they_are_taken_over(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    taken_over = tmp_path / ".env"
    taken_over.write_text(
        "\n".join(line.removeprefix("#") for line in lines if line.startswith(f"#{PREFIX}"))
    )

    named = dotenv_values(taken_over)
    settings = load_settings(taken_over)

    assert {PREFIX + name.upper() for name, _ in fields()} <= named.keys()
    for name, field in fields():
        assert getattr(settings, name) == field.get_default(call_default_factory=True), name
