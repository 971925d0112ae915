"""Looks at the database: that it answers, its schema and role, the secret, and the image store that is its own."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagegate.cli.checks import Check
from imagegate.cli.desk import Desk
from imagegate.errors import ImagegateError, OperatorError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from imagegate.identity.provider_keys import StoredKey
    from imagegate.registry import DatabaseUrls
    from imagegate.settings import Settings


@dataclass(slots=True)
class Kept:
    """What the database holds of providers; nothing where it could not be read."""

    keys: "list[StoredKey]" = field(default_factory=list)
    disabled: set[str] = field(default_factory=set)


Look = Callable[["AsyncConnection", "Settings"], AsyncIterator[Check]]


async def check_database(
    desk: Desk, settings: "Settings", kept: Kept, look: Look | None = None
) -> AsyncIterator[Check]:
    """Fills `kept` as well. look: at what stands in the tables, once their schema is right."""
    from imagegate.db.base import open_engine
    from imagegate.registry import open_database

    name = "embedded" if settings.embedded else "external"
    try:
        async with open_database(settings, desk.say) as urls:
            engine = open_engine(urls.app, settings)
            try:
                async with engine.begin() as tx:
                    yield Check("database", "ok", f"the {name} one answers")
                    async for check in check_tables(tx, settings, urls, kept, look):
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
    tx: "AsyncConnection", settings: "Settings", urls: "DatabaseUrls", kept: Kept, look: Look | None
) -> AsyncIterator[Check]:
    from sqlalchemy import text

    from imagegate.identity.secret import check_fingerprint, load_keyring
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
        await check_fingerprint(tx, load_keyring(settings))
        yield Check("secret", "ok", "the one that is in force")
    except OperatorError as error:
        yield Check("secret", "fail", error.message)
    else:
        await read_providers(tx, settings, kept)
    yield await check_images(tx, settings)
    if look is not None:
        async for check in look(tx, settings):
            yield check


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
    from imagegate.identity.secret import load_keyring, turn_to_force

    keyring = load_keyring(settings)
    await turn_to_force(tx, keyring)
    kept.keys += await provider_keys.load(tx, keyring.sealing)
    kept.disabled |= await provider_rules.load_disabled(tx)
