"""`imagegate config`: every setting, where it comes from, whether all is right, and an example file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from imagegate.cli import config_check
from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from imagegate.settings import Settings

app = typer.Typer(
    name="config", help="The configuration: show it, check it, write an example.", no_args_is_help=True
)
app.command()(config_check.check)

MASK = "********"
ENV_FILE = Path(".env")
PARTS = (
    ("API_KEY", "our key at {name}; several with commas between them are taken in turn as they are limited."),
    ("BASE_URL", "where {name} is called. Default: {default}"),
    (
        "TRUSTED_HOSTS",
        "hosts, comma-separated, that links in {name}'s answers may point at though they are private.",
    ),
)


@app.command()
def show(json: Json = False) -> None:
    """Show every setting: its value, where it comes from, and its default. Secrets are masked."""

    async def work(desk: Desk) -> None:
        settings = desk.settings()
        shown = [*own_settings(settings), *provider_settings()]
        columns = ("setting", "value", "from", "default")
        rows = [(s["name"], text_of(s["value"]), s["source"], text_of(s["default"])) for s in shown]
        desk.answer_table({"settings": shown}, columns, rows, "")

    run(work, json=json)


@app.command()
def example(json: Json = False) -> None:
    """Print an example of the file .env with every setting and its default."""

    async def work(desk: Desk) -> None:
        text = write_example()
        desk.answer({"env_example": text}, text.rstrip("\n"))

    run(work, json=json)


def own_settings(settings: "Settings") -> list[dict[str, Any]]:
    from imagegate.settings import PREFIX

    shown = []
    for name, field in fields():
        variable, value = PREFIX + name.upper(), getattr(settings, name)
        default = field.get_default(call_default_factory=True)
        source = source_of(variable)
        shown.append({"name": variable, "value": plain(value), "source": source, "default": plain(default)})
    return shown


def provider_settings() -> list[dict[str, Any]]:
    """The variables of providers that are set."""
    from dotenv import dotenv_values

    from imagegate.settings import PROVIDER_VARIABLE

    in_file = dotenv_values(ENV_FILE) if ENV_FILE.is_file() else {}
    environment = {**in_file, **os.environ}
    found = {
        name: value for name, value in environment.items() if value and PROVIDER_VARIABLE.fullmatch(name)
    }
    return [
        {
            "name": name,
            "value": mask_keys(value) if name.endswith("_API_KEY") else hide_password(value),
            "source": source_of(name),
            "default": None,
        }
        for name, value in sorted(found.items())
    ]


def fields() -> "list[tuple[str, FieldInfo]]":
    """The settings that are variables of their own; `providers` is read from many."""
    from imagegate.settings import Settings

    return [(name, field) for name, field in Settings.model_fields.items() if name != "providers"]


def source_of(variable: str) -> str:
    """`env`, `.env` or `default`. An empty variable counts as absent."""
    from dotenv import dotenv_values

    if variable in os.environ:
        return "env" if os.environ[variable] else "default"
    return ".env" if ENV_FILE.is_file() and dotenv_values(ENV_FILE).get(variable) else "default"


def plain(value: object) -> object:
    """A setting's value as JSON shows it: secrets masked, passwords in URLs too."""
    from pydantic import SecretStr

    if isinstance(value, SecretStr):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    return hide_password(str(value))


def mask_keys(value: str) -> str:
    """Nothing of the keys but how many they are."""
    count = value.count(",") + 1
    return MASK if count == 1 else f"{MASK} ({count} keys)"


def hide_password(text: str) -> str:
    """What stands between `://` and the last `@` of a URL's host part is not shown."""
    scheme, found, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    if not found or "@" not in host:
        return text
    return f"{scheme}://{MASK}@{host.rpartition('@')[2]}{slash}{path}"


def text_of(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_example() -> str:
    """The content of `.env.example`: a comment and a line for each setting, then those of the providers."""
    from imagegate.catalogue.catalogue import load_catalogue
    from imagegate.settings import PREFIX

    lines = [
        "# Every setting of imagegate, with its default. Take the `#` away in front of what you change.",
        "# Environment variables go before this file. Show what is in force: imagegate config show",
    ]
    for name, field in fields():
        lines += [
            "",
            f"# {field.description}{depends(field)}",
            f"#{PREFIX}{name.upper()}={default_text(field)}",
        ]
    lines += ["", "# Providers. A provider without a key is not asked; the sandbox needs none."]
    for name, provider in load_catalogue().providers.items():
        if name == "sandbox":
            continue
        for part, says in PARTS:
            default = provider.base_url or "none, it must be set."
            lines += [
                "",
                f"# {name}: {says.format(name=name, default=default)}",
                f"#{PREFIX}{name.upper()}_{part}=",
            ]
    return "\n".join(lines) + "\n"


def default_text(field: "FieldInfo") -> str:
    """The default as it is written in the file; nothing where it depends on who asks."""
    return "" if field.default_factory else text_of(field.default)


def depends(field: "FieldInfo") -> str:
    """What decides a default that is not the same everywhere."""
    said = getattr(field.default_factory, "__doc__", None)
    return f" Default: {said.replace('`', '')}" if said else ""
