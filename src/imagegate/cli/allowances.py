"""`imagegate allowances`: tokens granted anew each day or month."""

from typing import Annotated, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import AccountName, AnyAccountName, EnvOption, Json, Reason, actor

MOST_TOKENS = 2**53 - 1

app = typer.Typer(
    name="allowances", help="Allowances, granted each day or month: set, list, end.", no_args_is_help=True
)


@app.command("set")
def set_(
    account: AccountName,
    period: Annotated[Literal["day", "month"], typer.Option("--per", help="How often, in UTC.")],
    tokens: Annotated[int, typer.Option(min=1, max=MOST_TOKENS, help="How many each time.")],
    reason: Reason,
    env: EnvOption = "live",
    carry_over: Annotated[
        bool, typer.Option("--carry-over", help="What is left stays; otherwise it goes back.")
    ] = False,
    json: Json = False,
) -> None:
    """Grant tokens now and at the beginning of each period. An account has one for days and one for months.

    Setting it again changes it, for the periods to come.
    """

    async def work(desk: Desk) -> None:
        from imagegate.admin import allowances
        from imagegate.identity.audit import Actor

        by = Actor(actor(), reason)
        async with desk.registry() as registry, registry.engine.begin() as tx:
            made = await allowances.set_allowance(
                tx, account, env, period, tokens, carry_over=carry_over, actor=by
            )
        left = "stays" if carry_over else "goes back"
        text = f"{made['id']}: {account} ({env}) is granted {tokens:,} tokens each {period}; what is left {left}."
        desk.answer(made, text)

    run(work, json=json)


@app.command("list")
def list_(
    account: AnyAccountName = None,
    ended: Annotated[bool, typer.Option("--ended", help="With those that have ended.")] = False,
    json: Json = False,
) -> None:
    """List the allowances, oldest first."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import allowances

        async with desk.registry() as registry, registry.engine.connect() as connection:
            listed = await allowances.list_allowances(connection, account, ended=ended)
        rows = [
            (
                row["id"],
                row["account"],
                row["env"],
                f"{row['tokens']:,} a {row['period']}",
                "stays" if row["carry_over"] else "goes back",
                row["ended_at"] or "",
            )
            for row in listed
        ]
        columns = ("id", "account", "env", "tokens", "what is left", "ended")
        empty = (
            "There is no allowance. Make one: imagegate allowances set --account NAME --per month --tokens N"
        )
        desk.answer_table({"allowances": listed}, columns, rows, empty)

    run(work, json=json)


@app.command()
def end(
    allowance_id: Annotated[str, typer.Argument(metavar="ID", help="alw_… as `allowances list` shows it.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """Grant no more. What is left of the last grant goes back now, unless the allowance carries over."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import allowances
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry, registry.engine.begin() as tx:
            ended = await allowances.end_allowance(tx, allowance_id, Actor(actor(), reason))
        desk.answer(ended, f"{ended['id']} has ended.")

    run(work, json=json)
