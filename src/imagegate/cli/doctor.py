"""`imagegate doctor`: what works here, what does not, and the next command."""

import os
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json
from imagegate.errors import ImagegateError, OperatorError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from imagegate.identity.credentials import Access
    from imagegate.identity.provider_keys import StoredKey
    from imagegate.registry import DatabaseUrls
    from imagegate.settings import Settings


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


def doctor(json: Json = False) -> None:
    """Check settings, data directory, database, secret, image store, providers and port; exit 1 if one fails."""

    async def work(desk: Desk) -> None:
        found = []
        with desk.progress("Looking"):
            async for check in all_checks(desk):
                found.append(check)
        ok = not any(check.state == "fail" for check in found)
        shown = {"ok": ok, "checks": [asdict(check) for check in found]}
        desk.answer(shown, "\n".join(check.line for check in found))
        if not ok:
            raise typer.Exit(1)

    run(work, json=json)


@dataclass(slots=True)
class Kept:
    """What the database holds of providers; nothing where it could not be read."""

    keys: "list[StoredKey]" = field(default_factory=list)
    disabled: set[str] = field(default_factory=set)


async def all_checks(desk: Desk) -> AsyncIterator[Check]:
    """What depends on something that failed is left out."""
    for check in check_variables():
        yield check
    try:
        settings = desk.settings()
    except OperatorError as error:
        yield Check("settings", "fail", error.message, "correct them, then: imagegate config show")
        return
    yield Check("settings", "ok", "valid")
    folder = check_data_dir(settings)
    yield folder
    kept = Kept()
    if folder.state != "fail":
        async for check in check_database(desk, settings, kept):
            yield check
    for check in check_providers(settings, kept):
        yield check
    yield check_port(settings)


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


async def check_database(desk: Desk, settings: "Settings", kept: Kept) -> AsyncIterator[Check]:
    """Fills `kept` as well."""
    from imagegate.db.base import open_engine
    from imagegate.registry import open_database

    name = "embedded" if settings.embedded else "external"
    try:
        async with open_database(settings, desk.say) as urls:
            engine = open_engine(urls.app, settings)
            try:
                async with engine.begin() as tx:
                    yield Check("database", "ok", f"the {name} one answers")
                    async for check in check_tables(tx, settings, urls, kept):
                        yield check
            finally:
                await engine.dispose()
    except Exception as error:
        from sqlalchemy.exc import DBAPIError

        if isinstance(error, ImagegateError):
            yield Check("database", "fail", error.message)
        elif isinstance(error, DBAPIError | OSError):
            from imagegate.db.migrate import first_line

            detail = f"the {name} one cannot be used: {first_line(error)}"
            yield Check("database", "fail", detail, "correct IMAGEGATE_DATABASE_URL, then: imagegate doctor")
        else:
            raise


async def check_tables(
    tx: "AsyncConnection", settings: "Settings", urls: "DatabaseUrls", kept: Kept
) -> AsyncIterator[Check]:
    from sqlalchemy import text

    from imagegate.identity.secret import Keyring, check_fingerprint, load_master
    from imagegate.registry import check_schema

    try:
        await check_schema(tx)
    except OperatorError as error:
        yield Check("schema", "fail", error.message)
        return
    yield Check("schema", "ok", "up to date")
    right = "SELECT has_table_privilege('transfers', 'UPDATE') OR has_table_privilege('transfers', 'DELETE')"
    if (await tx.execute(text(right))).scalar_one():
        detail = "the gateway's role may change or delete transfers"
        advice = (
            "give IMAGEGATE_DATABASE_URL the role imagegate_app and IMAGEGATE_DATABASE_DIRECT_URL the owner"
        )
        yield Check("role", "warn", detail, advice)
    else:
        yield Check("role", "ok", "may only read and append transfers")
    try:
        await check_fingerprint(tx, Keyring.derive(load_master(settings)))
        yield Check("secret", "ok", "the one this database was set up with")
    except OperatorError as error:
        yield Check("secret", "fail", error.message)
    else:
        await read_providers(tx, settings, kept)
    yield await check_images(tx, settings)


async def check_images(tx: "AsyncConnection", settings: "Settings") -> Check:
    """Whether the image store is this database's own. The first `serve` joins the two; this only looks."""
    from sqlalchemy import text

    from imagegate.media.store import open_store

    where = settings.store_url or str(settings.data_dir / "images")
    try:
        store = open_store(settings)
        try:
            identity = str(await store.identify())
        finally:
            await store.close()
    except ImagegateError as error:
        return Check("image store", "fail", f"{where}: {error.message}", "correct IMAGEGATE_STORE_URL")
    known = (await tx.execute(text("SELECT value FROM instance WHERE name = 'store_id'"))).scalar()
    if known not in (None, identity):
        advice = "set IMAGEGATE_STORE_URL or IMAGEGATE_DATA_DIR to this database's own"
        return Check("image store", "fail", f"{where} belongs to another database", advice)
    return Check("image store", "ok", where)


async def read_providers(tx: "AsyncConnection", settings: "Settings", kept: Kept) -> None:
    from imagegate.catalogue import provider_rules
    from imagegate.identity import provider_keys
    from imagegate.identity.secret import Keyring, load_master

    kept.keys += await provider_keys.load(tx, Keyring.derive(load_master(settings)).sealing)
    kept.disabled |= await provider_rules.load_disabled(tx)


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


def check_port(settings: "Settings") -> Check:
    from imagegate.cli.listener import bind

    where = f"{settings.host}:{settings.port}"
    try:
        bind(settings.host, settings.port, "serve").close()
    except OperatorError as error:
        return Check("port", "warn", f"{error.message} (fine if it is imagegate that listens there)")
    return Check("port", "ok", f"{where} is free")
