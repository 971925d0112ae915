"""`imagegate ledger`: the proof."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from imagegate.ledger.verify import Check, Report
    from imagegate.registry import Registry

LONGEST_CHECK_S = 3600.0

app = typer.Typer(name="ledger", help="The ledger: prove it.", no_args_is_help=True)


@app.callback()
def ledger() -> None:
    """The ledger: prove it."""


@app.command()
def verify(json: Json = False) -> None:
    """Check the ledger's invariants in one snapshot; exit 1 and name the rows that break one."""

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            report = await proof_of(desk, registry)
        answer(desk, report)
        if not report.ok:
            raise typer.Exit(1)

    run(work, json=json)


async def proof_of(desk: Desk, registry: "Registry") -> "Report":
    """The proof in one snapshot; how it ended is kept."""
    from imagegate.db.base import snapshot
    from imagegate.ledger import proof
    from imagegate.ledger.verify import verify as prove

    async with patient_engine(registry) as engine:
        async with snapshot(engine) as connection:
            with telling(desk) as at_work:
                report = await prove(connection, at_work)
        async with engine.begin() as tx:
            await proof.keep_proof(tx, report)
    return report


@asynccontextmanager
async def patient_engine(registry: "Registry") -> AsyncIterator["AsyncEngine"]:
    """Connections that wait for one check as long as a large ledger needs."""
    from imagegate.db.base import open_engine

    url = registry.engine.url.render_as_string(hide_password=False)
    engine = open_engine(url, registry.settings, statement_timeout_s=LONGEST_CHECK_S)
    try:
        yield engine
    finally:
        await engine.dispose()


@contextmanager
def telling(desk: Desk) -> Iterator[Callable[["Check"], None]]:
    """Says which check is at work: in a spinner on a terminal, elsewhere as a line each on stderr."""
    from imagegate.ledger.verify import CHECKS

    numbers = {id(check): number for number, check in enumerate(CHECKS, 1)}

    def line(check: "Check") -> str:
        return f"{numbers[id(check)]}/{len(CHECKS)} {check.invariant}: {check.says}"

    if not desk.aside.is_terminal:
        yield lambda check: desk.say(line(check))
        return
    with desk.aside.status("Counting rows") as status:
        yield lambda check: status.update(line(check))


def answer(desk: Desk, report: "Report") -> None:
    from imagegate.ledger.verify import CHECKS

    broken = [v.invariant for v in report.violations]
    counts = {name: broken.count(name) for name in dict.fromkeys(check.invariant for check in CHECKS)}
    rows = ", ".join(f"{count:,} {table}" for table, count in report.checked.items())
    lines = [f"{name:4} {'ok' if not count else f'broken by {count}'}" for name, count in counts.items()]
    lines += [f"{v.invariant}: not so: {v.says}: {v.row}" for v in report.violations]
    verdict = "The ledger holds" if report.ok else "THE LEDGER IS BROKEN"
    for warning in report.warnings:
        desk.say(f"warning: {warning}")
    told = "\n".join([*lines, f"{verdict}. Checked in {report.seconds:.1f} s: {rows}."])
    desk.answer({**report.to_json(), "broken": counts}, told)
