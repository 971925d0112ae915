"""`imagegate audit`: who changed what, when and why."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import AnyAccountName, Json

app = typer.Typer(name="audit", help="The audit log: list it.", no_args_is_help=True)

MOST = 1000


def a_day(text: str | None) -> str | None:
    if text is not None:
        read_day(text)
    return text


def read_day(text: str) -> datetime:
    """The beginning of that day, UTC. Raises BadParameter."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day, as 2027-01-31.") from None


@app.command("list")
def list_(
    account: AnyAccountName = None,
    by: Annotated[str | None, typer.Option("--actor", help="As cli:root or operator:billing.")] = None,
    action: Annotated[str | None, typer.Option(help="As keys.revoke.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DAY", callback=a_day, help="From this day on (UTC).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many.")] = 50,
    json: Json = False,
) -> None:
    """List what operators changed, newest first."""
    from imagegate.admin import audit

    async def work(desk: Desk) -> None:
        wanted = audit.EntryFilter(by, action, account, read_day(since) if since else None)
        async with desk.registry() as registry, registry.engine.connect() as connection:
            found = await audit.page_entries(connection, wanted, None, limit)
        listed = [audit.entry_json(row) for row in found]
        rows = [(e["at"], e["actor"], e["action"], e["target"], e["reason"]) for e in listed]
        columns = ("at", "actor", "action", "target", "reason")
        desk.answer_table({"entries": listed}, columns, rows, "There is no such entry.")

    run(work, json=json)
