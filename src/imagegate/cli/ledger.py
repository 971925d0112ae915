"""`imagegate ledger`: the proof."""

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json

app = typer.Typer(name="ledger", help="The ledger: prove it.", no_args_is_help=True)


@app.callback()
def ledger() -> None:
    """The ledger: prove it."""


@app.command()
def verify(json: Json = False) -> None:
    """Check the ledger's invariants in one snapshot; exit 1 and name the rows that break one."""
    from imagegate.db.base import snapshot
    from imagegate.ledger.verify import CHECKS
    from imagegate.ledger.verify import verify as prove

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, snapshot(registry.engine) as connection:
            with desk.progress("Verifying"):
                report = await prove(connection)
        broken = [v.invariant for v in report.violations]
        counts = {name: broken.count(name) for name in dict.fromkeys(check.invariant for check in CHECKS)}
        rows = ", ".join(f"{count:,} {table}" for table, count in report.checked.items())
        lines = [f"{name:4} {'ok' if not count else f'broken by {count}'}" for name, count in counts.items()]
        lines += [f"{v.invariant}: not so: {v.says}: {v.row}" for v in report.violations]
        verdict = "The ledger holds" if report.ok else "THE LEDGER IS BROKEN"
        for warning in report.warnings:
            desk.say(f"warning: {warning}")
        desk.answer(
            {**report.to_json(), "broken": counts}, "\n".join([*lines, f"{verdict}. Checked: {rows}."])
        )
        if not report.ok:
            raise typer.Exit(1)

    run(work, json=json)
