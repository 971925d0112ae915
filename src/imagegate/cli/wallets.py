"""`imagegate wallets`: prepaid tokens."""

import csv
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import AccountName, Env, EnvOption, Json, Reason, actor

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from imagegate.ledger.holds import Wallet
    from imagegate.settings import Settings

MOST_LINES = 1_000_000
"""Of one statement."""

app = typer.Typer(
    name="wallets", help="Wallets: show, top up, adjust, list what moved.", no_args_is_help=True
)


@app.command()
def show(account: AccountName, env: EnvOption = "live", json: Json = False) -> None:
    """Show what a wallet holds and what of it is set aside for images being made."""
    from imagegate.admin import wallets

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            wallet = await wallets.get_wallet(connection, account, env)
        answer(desk, account, wallet, registry.settings)

    run(work, json=json)


@app.command("top-up")
def top_up(
    account: AccountName,
    tokens: Annotated[int, typer.Option(min=1, help="How many tokens to add.")],
    reason: Reason,
    env: EnvOption = "live",
    source: Annotated[
        str, typer.Option(metavar="S", help="Where the money came from, e.g. stripe.")
    ] = "operator",
    external_ref: Annotated[
        str | None,
        typer.Option(metavar="R", help="The source's own number; with it a top-up applies only once."),
    ] = None,
    json: Json = False,
) -> None:
    """Add tokens to a wallet."""
    from imagegate.admin import wallets
    from imagegate.identity.audit import Actor
    from imagegate.ledger.wallets import Funding

    async def work(desk: Desk) -> None:
        funding, by = Funding(source=source, external_ref=external_ref), Actor(actor(), reason)
        async with desk.registry() as registry, registry.engine.begin() as tx:
            done = await wallets.top_up(tx, account, env, tokens, actor=by, funding=funding)
        if not done.applied:
            desk.say(f"{source} {external_ref} was applied before: nothing was added.")
        answer(desk, account, done.wallet, registry.settings)

    run(work, json=json)


@app.command()
def adjust(
    account: AccountName,
    tokens: Annotated[int, typer.Option(help="How many tokens to add; to take some: --tokens -500.")],
    reason: Reason,
    env: EnvOption = "live",
    json: Json = False,
) -> None:
    """Correct a wallet by hand. What is held for images being made cannot be taken."""
    from imagegate.admin import wallets
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            wallet = await wallets.adjust(tx, account, env, tokens, actor=Actor(actor(), reason))
        answer(desk, account, wallet, registry.settings)

    run(work, json=json)


@app.command()
def statement(
    account: AccountName,
    env: EnvOption = "live",
    after: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Go on below line N, the last one seen.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LINES, help="How many lines.")] = 50,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, with a line of names.")] = False,
    json: Json = False,
) -> None:
    """List what moved tokens into and out of a wallet, newest first."""
    if as_csv and json:
        raise typer.BadParameter("--csv and --json are two answers; choose one.")

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            pages = read_pages(connection, account, env, after, limit)
            if as_csv:
                await write_csv(pages)
                return
            lines = [line async for page in pages for line in page]
        answer_lines(desk, lines, full=len(lines) == limit)

    run(work, json=json)


async def read_pages(
    connection: "AsyncConnection", account: str, env: Env, after: int | None, limit: int
) -> AsyncIterator[list[dict[str, Any]]]:
    """`limit` lines as JSON values, page by page: a long statement is never in memory as a whole."""
    from imagegate.admin.wallets import line_json, page_statement
    from imagegate.ledger.statement import MOST_LINES as MOST_OF_A_PAGE

    while limit > 0:
        wanted = min(limit, MOST_OF_A_PAGE)
        page = await page_statement(connection, account, env, after, wanted)
        yield [line_json(line) for line in page]
        if len(page) < wanted:
            return
        after, limit = page[-1].version, limit - wanted


async def write_csv(pages: AsyncIterator[Sequence[dict[str, Any]]]) -> None:
    from dataclasses import fields

    from imagegate.ledger.statement import Line

    writer = csv.DictWriter(sys.stdout, [field.name for field in fields(Line)], lineterminator="\n")
    writer.writeheader()
    async for page in pages:
        writer.writerows(page)


def answer_lines(desk: Desk, lines: Sequence[dict[str, Any]], *, full: bool) -> None:
    """`full`: there may be more, and the next page begins below the last line."""
    rows = [
        (
            str(line["version"]),
            line["at"],
            line["kind"],
            f"{line['tokens']:+,}",
            f"{line['balance_after']:,}",
            " ".join(line[name] for name in ("generation_id", "external_ref", "reason") if line[name]),
        )
        for line in lines
    ]
    next_after = lines[-1]["version"] if full and lines[-1]["version"] > 1 else None
    value = {"transfers": lines, "next_after": next_after}
    columns = ("line", "at", "kind", "tokens", "balance", "about")
    desk.answer_table(value, columns, rows, "Nothing has moved into or out of this wallet yet.")
    if next_after is not None:
        desk.say(f"More: --after {next_after}")


def answer(desk: Desk, account: str, wallet: "Wallet", settings: "Settings") -> None:
    from imagegate.admin.wallets import wallet_json

    shown = wallet_json(account, wallet, settings)
    text = (
        f"{account} ({wallet.env}): {wallet.available_tokens:,} tokens available = {shown['available']:,.2f} "
    )
    text += settings.currency
    if wallet.held_tokens:
        text += f"; {wallet.held_tokens:,} of {wallet.posted_tokens:,} are held for images being made"
    desk.answer(shown, text)
