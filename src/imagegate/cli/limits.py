"""`imagegate limits`: how much an account, a key, a team or an app may ask for and spend."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import AccountName, EnvOption, Json, actor

if TYPE_CHECKING:
    from imagegate.admin.limits import Shown

MOST_RATE = 1_000_000
MOST_TOKENS = 2**53 - 1

app = typer.Typer(name="limits", help="Limits and budgets: set, show, clear.", no_args_is_help=True)

KeyId = Annotated[str | None, typer.Option("--key", metavar="ID", help="For this key alone: key_…")]
Team = Annotated[str | None, typer.Option("--team", metavar="T", help="For all keys with this label.")]
App = Annotated[str | None, typer.Option("--app", metavar="P", help="For all requests of this app.")]
Rate = Annotated[int | None, typer.Option(min=0, max=MOST_RATE, help="Of accounts and keys.")]
BudgetTokens = Annotated[int | None, typer.Option(min=0, max=MOST_TOKENS, help="In one period, UTC.")]
OptionalReason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept for ever in the audit log.")
]


@app.command("set")
def set_(
    account: AccountName,
    env: EnvOption = "live",
    key: KeyId = None,
    team: Team = None,
    app_: App = None,
    requests_per_min: Rate = None,
    images_per_min: Rate = None,
    concurrent: Rate = None,
    day_tokens: BudgetTokens = None,
    month_tokens: BudgetTokens = None,
    reason: OptionalReason = "set on the command line",
    json: Json = False,
) -> None:
    """Set the limits that are named; the others stay. Teams and apps have budgets only."""
    given: dict[str, int | None] = {
        "requests_per_min": requests_per_min,
        "images_per_min": images_per_min,
        "concurrent": concurrent,
        "day_tokens": day_tokens,
        "month_tokens": month_tokens,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise typer.BadParameter("Name at least one limit, e.g. --day-tokens 1000000.")

    async def work(desk: Desk) -> None:
        from imagegate.admin import limits
        from imagegate.identity.audit import Actor

        scope = limits.read_scope(key=key, team=team, app=app_)
        async with desk.registry() as registry, registry.engine.begin() as tx:
            shown = await limits.set_limits(tx, account, env, scope, changes, Actor(actor(), reason))
        answer(desk, shown)

    run(work, json=json)


@app.command()
def show(account: AccountName, env: EnvOption = "live", json: Json = False) -> None:
    """Show all limits of an account, and what is used of its budgets."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import limits

        async with desk.registry() as registry, registry.engine.connect() as connection:
            listed = [found.to_json() for found in await limits.show_limits(connection, account, env)]
        rows = [(described(row), *cells(row)) for row in listed]
        columns = ("for", "requests/min", "images/min", "at once", "day", "used", "month", "used")
        empty = f"{account} ({env}) has no limits but its wallet."
        desk.answer_table({"limits": listed}, columns, rows, empty)

    run(work, json=json)


@app.command()
def clear(
    account: AccountName,
    env: EnvOption = "live",
    key: KeyId = None,
    team: Team = None,
    app_: App = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="This limit alone, e.g. day-tokens; repeatable.")
    ] = None,
    reason: OptionalReason = "cleared on the command line",
    json: Json = False,
) -> None:
    """Take all limits away, of the account itself unless a key, a team or an app is named."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import limits
        from imagegate.identity.audit import Actor
        from imagegate.identity.limit_rows import NAMES

        names = [name.replace("-", "_") for name in only] if only else NAMES
        scope = limits.read_scope(key=key, team=team, app=app_)
        by = Actor(actor(), reason)
        async with desk.registry() as registry, registry.engine.begin() as tx:
            shown = await limits.clear_limits(tx, account, env, scope, by, names)
        answer(desk, shown)

    run(work, json=json)


def answer(desk: Desk, shown: "Shown") -> None:
    value = shown.to_json()
    names = ("requests_per_min", "images_per_min", "concurrent", "day_tokens", "month_tokens")
    told = ", ".join(f"{name} {value[name]:,}" for name in names if value[name] is not None)
    desk.answer(value, f"{described(value)} of {shown.account} ({shown.env}): {told or 'no limits'}")


def described(value: dict[str, Any]) -> str:
    return f"{value['scope']} {value['scope_id']}" if value["scope_id"] else "account"


def cells(value: dict[str, Any]) -> tuple[str, ...]:
    rates = [number(value[name]) for name in ("requests_per_min", "images_per_min", "concurrent")]
    budgets = []
    for unit in ("day", "month"):
        used = value[unit]
        counted = f"{used['spent_tokens']:,} + {used['held_tokens']:,} held" if used else ""
        budgets += [number(value[f"{unit}_tokens"]), counted]
    return (*rates, *budgets)


def number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
