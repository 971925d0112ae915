"""`imagegate db rollup`: the sums that usage is read from, brought up to date or made anew."""

from typing import Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json


def rollup(
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Make all sums anew from the rows; usage stays readable and right."),
    ] = False,
    json: Json = False,
) -> None:
    """Sum up the hours that are over, as a running gateway does every minute. Usage is the same before and after."""

    async def work(desk: Desk) -> None:
        from imagegate.cli.ledger import patient_engine
        from imagegate.generation import rollup as sums

        async with desk.registry() as registry, patient_engine(registry) as engine:
            rebuilt = closed = 0
            with desk.progress("Summing up usage"):
                if rebuild:
                    rebuilt = await sums.rebuild(engine)
                while step := await sums.close_due(engine):
                    closed += step
            reach = await sums.read_reach(engine)
        said = f"Closed {closed:,} hours" + (f", made {rebuilt:,} anew" if rebuild else "")
        told = (
            f"; usage up to {reach:%Y-%m-%d %H:%M} UTC is summed up."
            if reach
            else "; there is nothing to sum up yet."
        )
        shown = {"closed": closed, "rebuilt": rebuilt, "until": reach.isoformat() if reach else None}
        desk.answer(shown, said + told)

    run(work, json=json)
