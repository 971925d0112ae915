"""`imagegate logs tail`: the newest generations, one line each, and those that come. Read from the database."""

from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.generations import MOST, AnyApp, AnyEnv, AnyKey, AnyModel, AnyProvider, AnyStatus
from imagegate.cli.options import AnyAccountName, Json

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from imagegate.admin.generation_search import Search
    from imagegate.admin.generations import Summary
    from imagegate.registry import Registry

app = typer.Typer(name="logs", help="What is being made: watch it.", no_args_is_help=True)

SLACK = timedelta(seconds=30)
"""Generations become visible a little later than they were opened, and not in that order."""
MOST_KNOWN = 10_000
OVER = ("completed", "failed", "cancelled")


@app.callback()
def logs() -> None:
    """What is being made: watch it."""


@app.command()
def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MOST, help="How many to begin with.")
    ] = 20,
    every_s: Annotated[
        float, typer.Option("--every", min=0.2, max=60, metavar="S", help="Look so often, in seconds.")
    ] = 1.0,
    account: AnyAccountName = None,
    env: AnyEnv = None,
    status: AnyStatus = None,
    model: AnyModel = None,
    key: AnyKey = None,
    app_: AnyApp = None,
    provider: AnyProvider = None,
    json: Json = False,
) -> None:
    """Show the newest generations, the newest last. With --follow each new one, and each change of status.

    Neither prompts nor keys are shown. With --follow --json every line is a JSON value of its own.
    """

    async def work(desk: Desk) -> None:
        from imagegate.admin.generation_search import Search
        from imagegate.generation.listing import known_as

        async with desk.registry() as registry:
            model_id = known_as(registry.catalogue, model) if model else None
            wanted = Search(account, env, status, model_id, key, None, app_, provider)
            await until_left(show(desk, registry, wanted, limit, every_s if follow else None))

    run(work, json=json)


async def until_left(showing: Coroutine[Any, Any, None]) -> None:
    """Ctrl-C is how it ends, and so is a reader that has seen enough, as `head`."""
    import asyncio
    import os
    import sys

    try:
        await showing
    except asyncio.CancelledError:
        return
    except BrokenPipeError:  # what is buffered has nowhere to go either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def show(desk: Desk, registry: "Registry", wanted: "Search", limit: int, every_s: float | None) -> None:
    """every_s: None: once."""
    from imagegate.admin.generation_search import search

    async with registry.engine.connect() as connection:
        found = (await search(connection, wanted, None, limit))[::-1]
    if every_s is None:
        text = "\n".join(map(line_of, found)) or "There is no such generation."
        desk.answer({"generations": [summary.to_json() for summary in found]}, text)
        return
    if not found and not desk.json:
        desk.say("Nothing yet. Waiting; stop with Ctrl-C.")
    await follow_on(desk, registry, wanted, found, every_s)


async def follow_on(
    desk: Desk, registry: "Registry", wanted: "Search", found: "Sequence[Summary]", every_s: float
) -> None:
    import asyncio

    known: OrderedDict[UUID, str] = OrderedDict()
    running: dict[UUID, tuple[UUID, str, UUID]] = {}
    latest = datetime.now(UTC)
    while True:
        for summary in found:
            status = summary.to_json()["status"]
            if known.get(summary.id) == status:
                continue
            known[summary.id] = status
            tell(desk, summary)
            latest = max(latest, summary.row.created_at)
            running.pop(summary.id, None)
            if status not in OVER:
                running[summary.id] = (summary.row.account_id, summary.row.env, summary.id)
        while len(known) > MOST_KNOWN:
            forgotten, _ = known.popitem(last=False)
            running.pop(forgotten, None)
        await asyncio.sleep(every_s)
        async with registry.engine.connect() as connection:
            found = await look(desk, connection, wanted, latest - SLACK, list(running.values()))


async def look(
    desk: Desk,
    connection: "AsyncConnection",
    wanted: "Search",
    since: datetime,
    running: list[tuple[UUID, str, UUID]],
) -> "list[Summary]":
    """What was opened since then, oldest first, and what has become of those that were running."""
    from dataclasses import replace

    from sqlalchemy import tuple_

    from imagegate.admin.generation_search import search
    from imagegate.admin.generations import summaries, with_attempts
    from imagegate.journal.tables import generations

    found = (await search(connection, replace(wanted, since=since), None, MOST))[::-1]
    if len(found) == MOST:
        desk.say(f"These are {MOST} at once; there may be more: imagegate generations list")
    seen = {summary.id for summary in found}
    missing = [key for key in running if key[2] not in seen]
    if missing:
        g = generations.c
        query = summaries().where(tuple_(g.account_id, g.env, g.id).in_(missing))
        found += await with_attempts(connection, (await connection.execute(query)).all())
    return found


def tell(desk: Desk, summary: "Summary") -> None:
    if desk.json:
        from pydantic_core import to_json

        print(to_json(summary.to_json()).decode(), flush=True)
    else:
        print(line_of(summary), flush=True)


def line_of(summary: "Summary") -> str:
    """As a log has it: when, what became of it, whose, what, and for how much."""
    shown, row = summary.to_json(), summary.row
    tokens = f"({shown['hold_tokens']:,} held)"
    if row.settled_at is not None:
        tokens = f"{shown['charged_tokens']:,} tokens"
    images = f"{shown['images']}/{shown['requested_images']}"
    seconds = f"{(row.settled_at - row.created_at).total_seconds():.1f} s" if row.settled_at else ""
    whose, by = f"{shown['account']}/{shown['env']}", ",".join(shown["providers"]) or "-"
    parts = (shown["created_at"], f"{shown['status']:<11}", shown["id"], whose, shown["model"])
    return "  ".join(part for part in (*parts, images, tokens, by, seconds, shown["code"] or "") if part)
