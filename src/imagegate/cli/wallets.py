"""`imagegate wallets`: prepaid tokens."""

from typing import TYPE_CHECKING, Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import AccountName, EnvOption, Json, Reason, actor

if TYPE_CHECKING:
    from imagegate.ledger.holds import Wallet
    from imagegate.settings import Settings

app = typer.Typer(name="wallets", help="Wallets: show, top up.", no_args_is_help=True)


@app.command()
def show(account: AccountName, env: EnvOption = "live", json: Json = False) -> None:
    """Show what a wallet holds and what of it is set aside for images being made."""
    from imagegate.admin import operations

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            wallet = await operations.get_wallet(connection, account, env)
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
    from imagegate.admin import operations
    from imagegate.ledger.wallets import Funding

    async def work(desk: Desk) -> None:
        funding = Funding(source=source, external_ref=external_ref)
        async with desk.registry() as registry, registry.engine.begin() as tx:
            wallet = await operations.top_up(
                tx, account, env, tokens, reason=reason, actor=actor(), funding=funding
            )
        answer(desk, account, wallet, registry.settings)

    run(work, json=json)


def answer(desk: Desk, account: str, wallet: "Wallet", settings: "Settings") -> None:
    from imagegate.admin.operations import wallet_json

    shown = wallet_json(account, wallet, settings)
    text = (
        f"{account} ({wallet.env}): {wallet.available_tokens:,} tokens available = {shown['available']:,.2f} "
    )
    text += settings.currency
    if wallet.held_tokens:
        text += f"; {wallet.held_tokens:,} of {wallet.posted_tokens:,} are held for images being made"
    desk.answer(shown, text)
