"""`/admin/v1/accounts/{account}/wallets`."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import accounts, wallets
from imagegate.admin.http.door import Change, JsonObject, Reading, Writing, reads, writes
from imagegate.admin.http.fields import Moment, Tokens, an_env
from imagegate.admin.http.pages import Page, Query, after_number, listed
from imagegate.admin.wallets import ENVS, line_json, wallet_json
from imagegate.ledger.wallets import MAX_TOKENS, Funding

router = APIRouter()

WALLET = "/accounts/{account}/wallets/{env}"


class TopUp(Change):
    tokens: Tokens
    source: Annotated[str, Field(max_length=200, description="Where the money came from.")] = "operator"
    external_ref: Annotated[
        str | None,
        Field(max_length=200, description="The source's own number; with it a top-up applies only once."),
    ] = None


class Adjustment(Change):
    tokens: Annotated[
        int,
        Field(ge=-MAX_TOKENS, le=MAX_TOKENS, description="Above zero adds, below zero takes; not zero."),
    ]


class BalancesQuery(Query):
    since: Annotated[Moment, Field(description="The first moment.")]
    until: Annotated[Moment, Field(description="The last one.")]
    points: Annotated[int, Field(ge=2, le=500, description="How many moments.")] = 97


@reads(router, "/accounts/{account}/wallets", Query, "Show an account's wallets")
async def list_wallets(reading: Reading, _: Query) -> JsonObject:
    """The live and the test wallet, in whole tokens; `available` is their worth in the currency, for reading."""
    account = await accounts.get_account(reading.connection, reading.path["account"])
    settings = reading.services.settings
    found = [await wallets.get_wallet(reading.connection, account.public_id, env) for env in ENVS]
    data = [wallet_json(account.name, wallet, settings) for wallet in found]
    return {"object": "list", "data": data, "has_more": False, "next": None}


@writes(router, f"{WALLET}/top-up", "wallets:write", TopUp, "Top a wallet up")
async def top_up(writing: Writing, body: TopUp) -> JsonObject:
    """The wallet after it. `applied` is false when this source and external_ref had been applied before."""
    account = await accounts.get_account(writing.tx, writing.path["account"])
    done = await wallets.top_up(
        writing.tx,
        account.public_id,
        an_env(writing.path["env"]),
        body.tokens,
        actor=writing.actor,
        funding=Funding(source=body.source, external_ref=body.external_ref),
    )
    shown = wallet_json(account.name, done.wallet, writing.services.settings)
    return shown | {"applied": done.applied}


@writes(router, f"{WALLET}/adjust", "wallets:write", Adjustment, "Correct a wallet")
async def adjust(writing: Writing, body: Adjustment) -> JsonObject:
    """The wallet after it. Tokens that are held for images being made cannot be taken."""
    account = await accounts.get_account(writing.tx, writing.path["account"])
    env = an_env(writing.path["env"])
    wallet = await wallets.adjust(writing.tx, account.public_id, env, body.tokens, actor=writing.actor)
    return wallet_json(account.name, wallet, writing.services.settings)


@reads(router, f"{WALLET}/balances", BalancesQuery, "Show what a wallet had")
async def list_balances(reading: Reading, query: BalancesQuery) -> JsonObject:
    """At moments the same time apart, oldest first; tokens that were held are in it."""
    account, env = reading.path["account"], an_env(reading.path["env"])
    bounds = (query.since, query.until, query.points)
    data = await wallets.show_balances(reading.connection, account, env, *bounds)
    return {"object": "list", "data": data, "has_more": False, "next": None}


@reads(router, f"{WALLET}/statement", Page, "Read a wallet's statement")
async def read_statement(reading: Reading, page: Page) -> JsonObject:
    """The wallet's transfers, newest first; tokens below zero left it."""
    account, env = reading.path["account"], an_env(reading.path["env"])
    rows = await wallets.page_statement(reading.connection, account, env, after_number(page), page.rows)
    return listed(page, rows, line_json, lambda line: line.version)
