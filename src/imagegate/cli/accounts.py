"""`imagegate accounts`: who may draw."""

from typing import Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import (
    HoursOrDefault,
    Json,
    PolicyOrDefault,
    Reason,
    ReasonOrNone,
    actor,
    read_hours,
)

app = typer.Typer(
    name="accounts",
    help="Accounts: make one, list them, close one, set its policies.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name of its own, 1 to 200 characters.")],
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Open an account with an empty live wallet and a test wallet that holds its grant."""
    from imagegate.admin import accounts
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            account = await accounts.open_account(tx, registry.settings, name, Actor(actor(), reason))
        granted = registry.settings.test_wallet_tokens
        desk.answer(
            accounts.account_json(account),
            f"Account {name!r} is open. Its test wallet holds {granted:,} tokens, its live wallet none.\n"
            f"Next: imagegate keys create --account {name!r} --env test",
        )

    run(work, json=json)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the accounts, oldest first."""
    from imagegate.admin import accounts

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            found = await accounts.list_accounts(connection)
        listed = [accounts.account_json(account) for account in found]
        rows = [
            (
                a["name"],
                a["id"],
                a["created_at"],
                a["closed_at"] or "",
                a["moderation"] or "",
                a["keep_images_h"] or "",
                a["keep_prompts_h"] or "",
            )
            for a in listed
        ]
        columns = ("name", "id", "created", "closed", "moderation", "images h", "prompts h")
        empty = "There is no account yet. Make one: imagegate accounts create NAME"
        desk.answer_table({"accounts": listed}, columns, rows, empty)

    run(work, json=json)


@app.command()
def close(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The account's name, or its acc_… id.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """Close an account for good. From now on its keys spend nothing; what is being made is finished and paid."""
    from imagegate.admin import accounts
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            done = await accounts.close_account(tx, name, Actor(actor(), reason))
        text = "was closed before" if done.again else "is closed"
        desk.answer(accounts.account_json(done.account), f"Account {done.account.name!r} {text}.")

    run(work, json=json)


@app.command("set-moderation")
def set_moderation(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The account's name, or its acc_… id.")],
    policy: PolicyOrDefault,
    reason: Reason,
    json: Json = False,
) -> None:
    """Set the policy of moderation of an account's keys that have none. In force within two seconds."""
    from imagegate.admin import accounts
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        wanted = None if policy == "default" else policy
        async with desk.registry() as registry, registry.engine.begin() as tx:
            changed = await accounts.set_moderation(tx, name, wanted, Actor(actor(), reason))
            usual = registry.settings.moderation_policy
        told = wanted or f"the gateway's, {usual}"
        desk.answer(accounts.account_json(changed), f"Moderation of account {changed.name!r}: {told}.")

    run(work, json=json)


@app.command("set-retention")
def set_retention(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The account's name, or its acc_… id.")],
    reason: Reason,
    images_h: HoursOrDefault = None,
    prompts_h: HoursOrDefault = None,
    json: Json = False,
) -> None:
    """Set how long an account's images and prompts are kept. Of its images those that are made from now on."""
    from imagegate.admin import accounts
    from imagegate.identity.audit import Actor

    said = {"keep_images_h": images_h, "keep_prompts_h": prompts_h}
    changes = {name: read_hours(text) for name, text in said.items() if text is not None}

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            changed = await accounts.set_retention(tx, name, changes, Actor(actor(), reason))
            usual = registry.settings
        images = changed.keep_images_h or f"{usual.keep_images_h} (the gateway's)"
        prompts = changed.keep_prompts_h or f"{usual.keep_prompts_h} (the gateway's)"
        told = f"Of account {changed.name!r} images are kept for {images} hours and prompts for {prompts}."
        desk.answer(accounts.account_json(changed), told)

    run(work, json=json)
