"""What the environment says of providers: IMAGEGATE_<PROVIDER>_BASE_URL, _API_KEY and _TRUSTED_HOSTS."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from imagegate.errors import OperatorError

PREFIX = "IMAGEGATE_"
PROVIDER_VARIABLE = re.compile(r"IMAGEGATE_([A-Z][A-Z0-9_]*)_(BASE_URL|API_KEY|TRUSTED_HOSTS)")


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What the environment says of one provider; None = the catalogue's default. api_key: one, or several by commas."""

    base_url: str | None = None
    api_key: SecretStr | None = None
    trusted_hosts: frozenset[str] = frozenset()

    @property
    def api_keys(self) -> tuple[SecretStr, ...]:
        """The keys, in the order they are written, without the blanks around them."""
        if self.api_key is None:
            return ()
        return tuple(SecretStr(key.strip()) for key in self.api_key.get_secret_value().split(","))


def read_providers(environment: Mapping[str, str]) -> dict[str, ProviderSettings]:
    """IMAGEGATE_<PROVIDER>_BASE_URL, _API_KEY and _TRUSTED_HOSTS (comma-separated), by provider in small letters."""
    found: dict[str, dict[str, Any]] = {}
    for variable, value in environment.items():
        match = PROVIDER_VARIABLE.fullmatch(variable)
        if match and value:
            found.setdefault(match[1].lower(), {})[match[2].lower()] = value
    settings = {
        name: ProviderSettings(
            base_url=values["base_url"].rstrip("/") if "base_url" in values else None,
            api_key=SecretStr(values["api_key"]) if "api_key" in values else None,
            trusted_hosts=frozenset(
                h.strip().lower() for h in values.get("trusted_hosts", "").split(",") if h.strip()
            ),
        )
        for name, values in found.items()
    }
    for name, ours in settings.items():
        check_keys(f"{PREFIX}{name.upper()}_API_KEY", ours.api_keys)
        check_base_url(f"{PREFIX}{name.upper()}", ours.base_url or "")
    return settings


def check_base_url(prefix: str, url: str) -> None:
    """Raises OperatorError for one with a user name or a password: base URLs are shown, and logged by proxies."""
    if re.match(r"[^/]*//[^/?#]*@", url):
        text = f"{prefix}_BASE_URL holds a user name or a password. Put the key into {prefix}_API_KEY."
        raise OperatorError(text)


def check_keys(variable: str, keys: Sequence[SecretStr]) -> None:
    """Raises OperatorError when a key is empty or stands twice."""
    plain = [key.get_secret_value() for key in keys]
    if not all(plain):
        text = "holds an empty key: write one key, or several with one comma between two."
        raise OperatorError(f"{variable} {text}")
    if len(set(plain)) < len(plain):
        raise OperatorError(f"{variable} holds the same key twice.")
