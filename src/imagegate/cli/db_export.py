"""`imagegate db export`: tables as CSV or JSON lines."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json
from imagegate.errors import OperatorError

if TYPE_CHECKING:
    from imagegate.registry import Registry

Table = Literal["transfers", "generations", "attempts", "images", "wallets", "accounts", "all"]
Format = Literal["csv", "jsonl"]


def export(
    table: Annotated[
        Table,
        typer.Argument(
            metavar="TABLE", help="transfers, generations, attempts, images, wallets, accounts; or all."
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write TABLE.csv; made if missing.")],
    format_: Annotated[Format, typer.Option("--format", help="How.")] = "csv",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    json: Json = False,
) -> None:
    """Write tables into files, all as of one moment. Never secrets: no key, no hash, nothing that is sealed.

    Prompts are in `generations`, as long as they are kept. Values are written as they are: a spreadsheet may take
    texts of callers for formulas.
    """
    from imagegate.admin.exports import COLUMNS

    names = list(COLUMNS) if table == "all" else [table]
    targets = {name: folder / f"{name}.{format_}" for name in names}
    there = [str(path) for path in targets.values() if path.exists()]
    if there and not force:
        raise typer.BadParameter(
            f"{there[0]} is there already. Write over it with --force.", param_hint="DIR"
        )

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            written = await write_all(desk, registry, targets, format_)
        text = "\n".join(
            f"{file['path']}  {file['rows']:,} rows, {file['bytes']:,} bytes" for file in written
        )
        desk.answer({"format": format_, "files": written}, text)

    run(work, json=json)


async def write_all(
    desk: Desk, registry: "Registry", targets: dict[str, Path], form: Format
) -> list[dict[str, Any]]:
    """In one snapshot. Each file is written aside, for nobody else to read, and renamed when it is whole."""
    from imagegate.admin.exports import write_table
    from imagegate.cli.ledger import patient_engine
    from imagegate.db.base import snapshot

    written = []
    async with patient_engine(registry) as engine, snapshot(engine) as connection:
        for table, path in targets.items():
            aside = path.with_name(f"{path.name}.part")
            try:
                make_private(aside)
                with desk.progress(f"Writing {path}"):
                    said = lambda count, table=table: desk.say(f"{table}: {count:,} rows")  # noqa: E731
                    rows = await write_table(connection, table, form, aside, said)
                size = aside.stat().st_size
                aside.rename(path)
            except OSError as error:
                text = f"{path} cannot be written: {error.strerror}. Choose another DIR."
                raise OperatorError(text) from None
            finally:
                aside.unlink(missing_ok=True)
            written.append({"table": table, "path": str(path), "rows": rows, "bytes": size})
    return written


def make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
