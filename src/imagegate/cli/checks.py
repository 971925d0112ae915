"""One look at this installation each: settings, files and the port. `doctor` and `config check` put them together."""

import os
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

import typer

from imagegate.cli.desk import Desk
from imagegate.errors import OperatorError

if TYPE_CHECKING:
    from imagegate.settings import Settings

LITTLE_BYTES = 1024 * 1024 * 1024
TOO_LITTLE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """`next`: the command or setting that mends it."""

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    next: str | None = None

    @property
    def line(self) -> str:
        return f"{self.state:4}  {self.name}: {self.detail}" + (f" → {self.next}" if self.next else "")


def answer_checks(desk: Desk, found: list[Check]) -> None:
    """Exit code 1 when one of them failed."""
    ok = not any(check.state == "fail" for check in found)
    shown = {"ok": ok, "checks": [asdict(check) for check in found]}
    desk.answer(shown, "\n".join(check.line for check in found))
    if not ok:
        raise typer.Exit(1)


def check_variables() -> list[Check]:
    """Variables that nobody reads; most are misspelt."""
    from dotenv import dotenv_values

    from imagegate.catalogue.catalogue import load_catalogue
    from imagegate.cli.config import ENV_FILE, fields
    from imagegate.settings import PREFIX

    in_file = dotenv_values(ENV_FILE) if ENV_FILE.is_file() else {}
    parts = ("API_KEY", "BASE_URL", "TRUSTED_HOSTS")
    known = {PREFIX + name.upper() for name, _ in fields()}
    # An operator's own providers come from the file that a variable names; a wrong one is told of later.
    extra = {**in_file, **os.environ}.get("IMAGEGATE_CATALOGUE_FILE")
    providers = catalogue_providers(extra) or load_catalogue().providers.keys()
    known |= {f"{PREFIX}{provider.upper()}_{part}" for provider in providers for part in parts}
    unknown = sorted(
        name for name in {*in_file, *os.environ} if name.startswith(PREFIX) and name not in known
    )
    if not unknown:
        return [Check("variables", "ok", "every IMAGEGATE_ variable is known")]
    return [
        Check("variables", "warn", f"{name} is not known and does nothing", meant(name, known))
        for name in unknown
    ]


def catalogue_providers(file: str | None) -> set[str] | None:
    from pathlib import Path

    from imagegate.catalogue.catalogue import load_catalogue

    try:
        return set(load_catalogue(Path(file)).providers) if file else None
    except OperatorError:
        return None


def meant(name: str, known: set[str]) -> str:
    close = get_close_matches(name, sorted(known), n=1)
    return f"did you mean {close[0]}?" if close else "imagegate config show lists all"


def check_data_dir(settings: "Settings") -> Check:
    import tempfile

    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror}"
        return Check("data directory", "fail", detail, "set IMAGEGATE_DATA_DIR to a folder of your own")
    return Check("data directory", "ok", f"{folder} can be written")


def check_disk(settings: "Settings") -> Check:
    """The disk of the data directory, where the embedded database and local images lie."""
    import shutil

    free = shutil.disk_usage(settings.data_dir).free
    detail = f"{free / 2**30:,.1f} GiB free in {settings.data_dir}"
    if free >= LITTLE_BYTES:
        return Check("disk", "ok", detail)
    return Check(
        "disk", "fail" if free < TOO_LITTLE_BYTES else "warn", detail, "make room, or move IMAGEGATE_DATA_DIR"
    )


def check_port(settings: "Settings") -> Check:
    from imagegate.cli.listener import bind

    where = f"{settings.host}:{settings.port}"
    try:
        bind(settings.host, settings.port, "serve").close()
    except OperatorError as error:
        return Check("port", "warn", f"{error.message} (fine if it is imagegate that listens there)")
    return Check("port", "ok", f"{where} is free")
