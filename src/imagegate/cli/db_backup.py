"""`imagegate db backup` and `db restore`: the whole database in one file, and back again with a proof."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json
from imagegate.errors import OperatorError

if TYPE_CHECKING:
    from imagegate.db.dumps import Contents
    from imagegate.registry import DatabaseUrls
    from imagegate.settings import Settings

COUNTED = ("accounts", "generations", "transfers")
NOT_IN_IT = "Not in it: images, and the secret of keys and links. Keep the image store and {secret} too."


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it, as imagegate.dump.")],
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write all tables into one file, as of one moment, while the gateway runs on. Only you can read the file.

    It is in PostgreSQL's custom format. Images and the master secret are not in it.
    """
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already. Write over it with --force.", param_hint="FILE")

    async def work(desk: Desk) -> None:
        import asyncio
        from time import monotonic

        from imagegate.db.dumps import write_dump
        from imagegate.registry import open_database

        settings, began = desk.settings(), monotonic()
        async with open_database(settings, desk.say) as urls:
            before = await look_at(urls, settings)
            if before.revision is None:
                raise OperatorError("The database has no tables yet. Run: imagegate db upgrade")
            with telling(desk, "Writing") as at_work:
                size = await asyncio.to_thread(write_dump, urls.owner, our_tables(), file, at_work)
        secret = f"{settings.data_dir / 'secret'}" if settings.secret is None else "IMAGEGATE_SECRET"
        shown = {"path": str(file), "bytes": size, "revision": before.revision, "rows": before.rows}
        rows = ", ".join(f"{count:,} {name}" for name, count in before.rows.items())
        told = f"{file}: {size:,} bytes in {monotonic() - began:.1f} s, about {rows}."
        keep = NOT_IN_IT.format(secret=secret)
        desk.answer(shown, f"{told}\n{keep}\nBack again: imagegate db restore {file}")

    run(work, json=json)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `imagegate db backup` wrote it.")],
    force: Annotated[
        bool, typer.Option("--force", help="Put it in the place of what is there, which is lost.")
    ] = False,
    json: Json = False,
) -> None:
    """Read a backup back, bring its schema up to date, and prove the ledger; exit 1 if that does not hold.

    A database that holds accounts is refused without --force, one that a gateway uses always.
    """

    async def work(desk: Desk) -> None:
        import asyncio

        from imagegate.db.dumps import look_into
        from imagegate.db.migrate import upgrade
        from imagegate.registry import open_database

        settings = desk.settings()
        contents = await asyncio.to_thread(look_into, file)
        check_contents(settings, file, contents)
        async with open_database(settings, desk.say) as urls:
            before = await look_at(urls, settings)
            check_empty(before, file, force)
            await put_back(desk, urls, file, contents, before)
            await asyncio.to_thread(upgrade, urls.owner, desk.say)
            ok = await prove(desk, file, {"restored": str(file), "revision": contents.revision})
        if not ok:
            raise typer.Exit(1)

    run(work, json=json)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a database holds. revision: None where it has no tables. alive: gateways that use it. granted: it has the
    role that migrations grant to."""

    revision: str | None
    rows: dict[str, int]
    alive: int
    granted: bool


async def look_at(urls: "DatabaseUrls", settings: "Settings") -> Standing:
    """Raises OperatorError when it cannot be reached."""
    from sqlalchemy import text

    from imagegate.db.base import open_engine
    from imagegate.db.migrate import UNREACHABLE, current_and_head, first_line

    engine = open_engine(urls.owner, settings, statement_timeout_s=3600.0)
    try:
        async with engine.connect() as connection:

            async def one(query: str) -> Any:
                return (await connection.execute(text(query))).scalar()

            granted = bool(await one("SELECT count(*) FROM pg_roles WHERE rolname = 'imagegate_app'"))
            revision, _ = await current_and_head(connection)
            if revision is None or await one("SELECT to_regclass('transfers')::text") is None:
                return Standing(None, {}, 0, granted)
            rows = {name: int(await one(f"SELECT count(*) FROM {name}")) for name in COUNTED}  # noqa: S608 constants
            # Whoever is alone at an embedded server sees leases of processes that have ended.
            alone = urls.alone_since is not None
            alive = 0 if alone else int(await one("SELECT count(*) FROM workers WHERE lease_until > now()"))
            return Standing(revision, rows, alive, granted)
    except UNREACHABLE as error:
        text_ = f"The database cannot be used: {first_line(error)}. Look: imagegate config check"
        raise OperatorError(text_) from None
    finally:
        await engine.dispose()


def check_contents(settings: "Settings", file: Path, contents: "Contents") -> None:
    """Before anything is touched. Raises OperatorError for a newer schema, and for another secret's backup."""
    from imagegate.db.migrate import find_head, find_scripts
    from imagegate.identity.secret import load_keyring

    head = find_head(find_scripts())
    if not contents.revision or contents.revision > head:
        text = f"{file} has the schema {contents.revision or 'of nothing'}, this imagegate knows {head}."
        raise OperatorError(f"{text} Next: pip install --upgrade imagegate")
    known = contents.instance.get("secret_fingerprint")
    if known not in (None, *load_keyring(settings).fingerprints):
        where = "IMAGEGATE_SECRET" if settings.secret is not None else f"{settings.data_dir / 'secret'}"
        raise OperatorError(
            f"{file} was made under another secret: its API keys and links would all be refused. "
            f"Put the secret it was made under into {where}, then: imagegate db restore {file}"
        )


def check_empty(before: Standing, file: Path, force: bool) -> None:
    """Raises OperatorError."""
    if before.alive:
        raise OperatorError(
            f"{before.alive} running gateways use this database, and what they make would be lost. Stop them (one "
            "that was killed counts for IMAGEGATE_WORKER_LEASE_S seconds more), "
            f"then: imagegate db restore {file}"
        )
    if before.rows.get("accounts") and not force:
        rows = ", ".join(f"{count:,} {name}" for name, count in before.rows.items())
        raise OperatorError(
            f"The database is not empty: {rows}. Keep them: imagegate db backup OTHER_FILE. "
            f"To lose them: imagegate db restore {file} --force"
        )


async def put_back(
    desk: Desk, urls: "DatabaseUrls", file: Path, contents: "Contents", before: Standing
) -> None:
    import asyncio

    from imagegate.db.dumps import read_back

    drop = {*our_tables(), *contents.tables}
    with telling(desk, "Reading") as at_work:
        await asyncio.to_thread(read_back, urls.owner, file, drop, at_work, grants=before.granted)


async def prove(desk: Desk, file: Path, shown: dict[str, Any]) -> bool:
    """Answer with the proof of the ledger, as the gateway's own role reads it."""
    from imagegate.cli.ledger import proof_of

    async with desk.registry() as registry:
        report = await proof_of(desk, registry)
    verdict = "The ledger holds" if report.ok else "THE LEDGER IS BROKEN: imagegate ledger verify"
    rows = ", ".join(f"{report.checked[name]:,} {name}" for name in ("wallets", "transfers", "generations"))
    text = f"{file} is restored. {verdict}: {rows}.\nNext: imagegate doctor, then imagegate serve"
    desk.answer({**shown, "ledger": report.to_json()}, text)
    return report.ok


def our_tables() -> list[str]:
    """By the rooms' own metadata, which each `tables` module fills as it is imported."""
    from importlib import import_module

    import imagegate
    from imagegate.db.base import metadata

    for file in Path(imagegate.__file__).parent.glob("*/tables.py"):
        import_module(f"imagegate.{file.parent.name}.tables")
    return sorted([*metadata.tables, "alembic_version"])


@contextmanager
def telling(desk: Desk, verb: str) -> Iterator[Callable[[str], None]]:
    """Says which table is at work: in a spinner on a terminal, elsewhere as a line each on stderr."""
    if not desk.aside.is_terminal:
        yield lambda table: desk.say(f"{verb} {table}")
        return
    with desk.aside.status(f"{verb} the schema") as status:
        yield lambda table: status.update(f"{verb} {table}")
