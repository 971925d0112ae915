"""`imagegate usage`: who made how much of what, what it was charged and what it cost."""

import csv
import io
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.generations import Until, a_moment, read_moment
from imagegate.cli.options import AnyAccountName, Env, Json

By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT",
        help="account, model, key, team, app, user, provider, size, quality, day, hour; several with commas.",
    ),
]
Since = Annotated[
    str, typer.Option(metavar="WHEN", callback=a_moment, help="24h, 7d, a day or a time (UTC).")
]
Length = Literal["hour", "day", "none"]
Bucket = Annotated[
    Length | None,
    typer.Option(help="A row an hour or a day (UTC), or for the whole span; as --by day says it too."),
]


def usage(
    by: By = None,
    since: Since = "7d",
    until: Until = None,
    bucket: Bucket = None,
    account: AnyAccountName = None,
    env: Annotated[Env, typer.Option("--env", help="Of this environment.")] = "live",
    as_csv: Annotated[bool, typer.Option("--csv", help="Answer in CSV on stdout.")] = False,
    json: Json = False,
) -> None:
    """Show images, generations, errors, tokens charged, and USD spent and at risk upstream."""
    if as_csv and json:
        raise typer.BadParameter("choose --json or --csv.")
    words, length = split(by or [], bucket)

    async def work(desk: Desk) -> None:
        from imagegate.admin.usage import read_dimensions, show_usage

        dimensions = read_dimensions(words or ([] if by else ["model"]))
        async with desk.registry() as registry, registry.engine.connect() as connection:
            shown = await show_usage(
                connection,
                since=read_moment(since),
                until=read_moment(until) if until else datetime.now(UTC),
                by=dimensions,
                bucket=length,
                account=account,
                env=env,
            )
        answer(desk, shown, as_csv)

    run(work, json=json)


def split(by: list[str], bucket: Length | None) -> tuple[list[str], Length]:
    """What to group by, and the length of a bucket, which may stand among it. Raises BadParameter."""
    words = [word.strip() for text in by for word in text.split(",")]
    known: tuple[Length, ...] = ("hour", "day")
    lengths = [length for length in known if length in words]
    lengths += [bucket] if bucket is not None and bucket not in lengths else []
    if len(lengths) > 1:
        raise typer.BadParameter(f"{' and '.join(lengths)} are two lengths of a row; choose one.")
    return [word for word in words if word not in ("hour", "day")], lengths[0] if lengths else "none"


def answer(desk: Desk, shown: dict[str, Any], as_csv: bool) -> None:
    from imagegate.admin.usage import COUNTS

    columns = [*(["at"] if shown["bucket"] != "none" else []), *shown["by"], *COUNTS]
    if as_csv:
        desk.answer(shown, csv_of(columns, shown["rows"]))
        return
    rows = [[cell_of(row[column]) for column in columns] for row in shown["rows"]]
    nothing = f"Nothing was made from {shown['since']} to {shown['until']} ({shown['env']})."
    desk.answer_table(shown, columns, rows, nothing)


def cell_of(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)


def csv_of(columns: list[str], rows: list[dict[str, Any]]) -> str:
    """RFC 4180 in its usual form: a header, commas. A text that a spreadsheet would take for a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([harmless(row[column]) for column in columns] for row in rows)
    return text.getvalue().rstrip("\n")


def harmless(value: Any) -> Any:
    """Callers choose some of these texts: `=cmd()` in a label must stay a text in a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value[:1] else value
