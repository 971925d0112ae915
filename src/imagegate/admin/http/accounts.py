"""`/admin/v1/accounts`."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import accounts
from imagegate.admin.accounts import LONGEST_H, SHORTEST_H, account_json
from imagegate.admin.http.door import Change, JsonObject, Reading, Writing, reads, writes
from imagegate.admin.http.fields import ModerationPolicy
from imagegate.admin.http.pages import Page, Query, after_id, listed

router = APIRouter()


class NewAccount(Change):
    name: Annotated[str, Field(min_length=1, max_length=200, description="A name of its own.")]


class AccountModeration(Change):
    """null: the gateway's policy."""

    moderation: ModerationPolicy


Hours = Annotated[int | None, Field(ge=SHORTEST_H, le=LONGEST_H, description="Hours.")]


class AccountRetention(Change):
    """null: as the gateway's settings say. What is absent stays."""

    keep_images_h: Hours = None
    keep_prompts_h: Hours = None


class AccountsPage(Page):
    name: Annotated[str | None, Field(max_length=200, description="A part of it, in any case.")] = None


@reads(router, "/accounts", AccountsPage, "List accounts")
async def list_accounts(reading: Reading, page: AccountsPage) -> JsonObject:
    """Accounts, newest first."""
    rows = await accounts.page_accounts(reading.connection, after_id(page), page.rows, page.name)
    return listed(page, rows, account_json, lambda account: account.id)


@writes(router, "/accounts", "keys:write", NewAccount, "Open an account", status=201)
async def create_account(writing: Writing, body: NewAccount) -> JsonObject:
    """A new account with an empty live wallet, and a test wallet that holds its grant."""
    settings = writing.services.settings
    return account_json(await accounts.open_account(writing.tx, settings, body.name, writing.actor))


@reads(router, "/accounts/{account}", Query, "Show an account")
async def get_account(reading: Reading, _: Query) -> JsonObject:
    """One account."""
    return account_json(await accounts.get_account(reading.connection, reading.path["account"]))


@writes(router, "/accounts/{account}/close", "keys:write", Change, "Close an account")
async def close_account(writing: Writing, _: Change) -> JsonObject:
    """For good: its keys spend nothing from now on; what is being made is finished and paid. Again is no error."""
    done = await accounts.close_account(writing.tx, writing.path["account"], writing.actor)
    return account_json(done.account)


@writes(
    router, "/accounts/{account}/moderation", "keys:write", AccountModeration, "Set an account's moderation"
)
async def set_moderation(writing: Writing, body: AccountModeration) -> JsonObject:
    """The policy of its keys that have none of their own; null: the gateway's. In force within two seconds."""
    changed = await accounts.set_moderation(
        writing.tx, writing.path["account"], body.moderation, writing.actor
    )
    return account_json(changed)


@writes(
    router, "/accounts/{account}/retention", "keys:write", AccountRetention, "Set how long things are kept"
)
async def set_retention(writing: Writing, body: AccountRetention) -> JsonObject:
    """Of its images those made from now on, within two seconds; prompts all at once. null: as the settings say."""
    changes = body.model_dump(include={"keep_images_h", "keep_prompts_h"}, exclude_unset=True)
    return account_json(
        await accounts.set_retention(writing.tx, writing.path["account"], changes, writing.actor)
    )
