"""Reads the settings from the environment and a `.env` file."""

import os
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from imagegate.errors import OperatorError
from imagegate.settings.providers import PREFIX, read_providers
from imagegate.settings.settings import Settings


def load_settings(env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Read the environment and the `.env` file. Raises OperatorError naming every setting that is wrong."""
    from_file = dotenv_values(env_file) if env_file and env_file.is_file() else {}
    environment = {**{k: v for k, v in from_file.items() if v is not None}, **os.environ}
    values = {
        name: environment[variable]
        for name in Settings.model_fields
        if name != "providers" and environment.get(variable := PREFIX + name.upper())
    }
    try:
        return Settings(**{**values, "providers": read_providers(environment), **overrides})
    except ValidationError as error:
        lines = [
            f"{PREFIX}{'_'.join(map(str, e['loc'])).upper() or 'settings'}: {e['msg']}"
            for e in error.errors()
        ]
        raise OperatorError("The configuration is not valid.\n" + "\n".join(lines)) from None
