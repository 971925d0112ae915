"""Looks at the providers: which are configured, with what, and whether their addresses can be addresses."""

from typing import TYPE_CHECKING

from imagegate.cli.checks import Check
from imagegate.cli.checks_database import Kept
from imagegate.errors import OperatorError

if TYPE_CHECKING:
    from imagegate.identity.credentials import Access
    from imagegate.settings import Settings


def check_providers(settings: "Settings", kept: Kept) -> list[Check]:
    from imagegate.catalogue.catalogue import load_catalogue
    from imagegate.registry import access_to

    try:
        catalogue = load_catalogue(settings.catalogue_file)
    except OperatorError as error:
        return [Check("catalogue", "fail", error.message, "correct IMAGEGATE_CATALOGUE_FILE")]
    found = access_to(catalogue, settings, kept.keys, kept.disabled)
    checks = []
    for name, provider in catalogue.providers.items():
        if name in found:
            checks.append(check_access(name, found[name]))
            continue
        part = "API_KEY" if provider.needs_key else "BASE_URL"
        advice = f"to use it, set IMAGEGATE_{name.upper()}_{part}"
        checks.append(Check(f"provider {name}", "ok", "not configured, so it is not asked", advice))
    for key in kept.keys:
        if key.fault is not None:
            detail = f"{key.public_id} ({key.name}) {key.fault}, so it is not used"
            advice = f"revoke it and add it again: imagegate providers revoke-key {key.public_id}"
            checks.append(Check(f"provider {key.provider}", "warn", detail, advice))
    if not {name for name, access in found.items() if access.enabled} - {"sandbox"}:
        detail = "none but the sandbox is configured: live requests for other models are refused"
        checks.append(Check("providers", "warn", detail, "set the API key of one"))
    return checks


def check_access(name: str, access: "Access") -> Check:
    keys = f" with {len(access.keys)} keys" if len(access.keys) > 1 else ""
    detail = f"configured {access.credential.base_url}".rstrip() + keys
    if access.enabled:
        return Check(f"provider {name}", "ok", detail)
    return Check(f"provider {name}", "ok", f"{detail}, but disabled", f"imagegate providers enable {name}")


def check_base_urls(settings: "Settings") -> list[Check]:
    """Whether each base URL that the environment sets can be one; a host that is not there is found by a test."""
    found = []
    for name, ours in sorted(settings.providers.items()):
        why = fault_of(ours.base_url) if ours.base_url else None
        if why is not None:
            variable = f"IMAGEGATE_{name.upper()}_BASE_URL"
            found.append(
                Check("base URL", "fail", f"{variable} {why}", f"correct {variable}, as https://HOST/v1")
            )
    return found or [Check("base URLs", "ok", "each can be one")]


def fault_of(url: str) -> str | None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            return "begins with neither https:// nor http://"
        if not parts.hostname or any(letter.isspace() for letter in url):
            return "names no host" if not parts.hostname else "has a blank in it"
        return None if parts.port != 0 else "has the port 0"
    except ValueError:
        return "cannot be read as a URL"
