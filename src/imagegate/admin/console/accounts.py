"""Accounts: what they have, what moved in their wallets, and the proof that nothing is left over."""

from urllib.parse import quote, urlencode

from starlette.routing import Route

from imagegate.admin import accounts, wallets
from imagegate.admin.accounts import account_json
from imagegate.admin.console.door import Doing, Gone, Shown, Visit, changes, looks, said, whole
from imagegate.admin.console.tables import Table
from imagegate.admin.http.pages import Page, after_number, listed
from imagegate.admin.wallets import ENVS, line_json, wallet_json
from imagegate.errors import InvalidRequest
from imagegate.ids import public_id
from imagegate.ledger.balances import list_wallets, sum_up
from imagegate.ledger.proof import last_proof
from imagegate.ledger.wallets import Funding

COLUMNS = (
    "id",
    "name",
    "created_at",
    "closed_at",
    "live_tokens",
    "live_held_tokens",
    "test_tokens",
    "moderation",
)
LINES = (
    "version",
    "at",
    "kind",
    "tokens",
    "balance_after",
    "generation_id",
    "cause",
    "reason",
    "actor",
    "source",
    "external_ref",
)
ROWS = 50


async def look(visit: Visit) -> Shown:
    """Every account with its balances."""
    connection = visit.connection
    found = await accounts.list_accounts(connection)  # first, so that each has its wallets
    held = {(wallet.account_id, wallet.env): wallet for wallet in await list_wallets(connection)}
    rows = []
    for account in found:
        live, test = (held[account.id, env] for env in ENVS)
        balances = {
            "live_tokens": live.available_tokens,
            "live_held_tokens": live.held_tokens,
            "test_tokens": test.available_tokens,
        }
        rows.append(account_json(account) | balances)
    table = Table("accounts", COLUMNS, rows, "/admin/v1/accounts?limit=200")
    return Shown("accounts.html", {"proof": await last_proof(connection)}, table)


async def look_at_one(visit: Visit) -> Shown:
    """Its wallets; the statement of one of them, newest first; its sums."""
    connection, settings = visit.connection, visit.services.settings
    account = await accounts.get_account(connection, visit.path["account"])
    env = visit.frame.env or "live"
    found = [await wallets.get_wallet(connection, account.public_id, each) for each in ENVS]
    page = Page(limit=ROWS, after=visit.frame.get("after"))
    lines = await wallets.page_statement(connection, account.public_id, env, after_number(page), page.rows)
    listed_ = listed(page, lines, line_json, lambda line: line.version)
    path = f"/admin/v1/accounts/{quote(account.public_id)}/wallets/{env}/statement"
    table = Table(
        "statement", LINES, listed_["data"], f"{path}?{urlencode({'limit': ROWS})}", listed_["next"]
    )
    context = {
        "account": account_json(account),
        "wallets": [wallet_json(account.name, wallet, settings) for wallet in found],
        "env": env,
        "sums": await sum_up(connection, account.id, env),
    }
    return Shown("account.html", context, table)


async def create(doing: Doing) -> Gone:
    """Raises InvalidRequest."""
    name = said(doing.form, "name") or ""
    made = await accounts.open_account(doing.tx, doing.visit.services.settings, name, doing.actor)
    return Gone(f"/console/accounts/{made.public_id}")


async def top_up(doing: Doing) -> Gone:
    """Raises what `wallets.top_up` raises."""
    env = doing.form.get("env")
    if env not in ENVS:
        raise InvalidRequest("env is live or test.", param="env")
    account = await accounts.get_account(doing.tx, doing.visit.path["account"])
    funding = Funding(source="operator", external_ref=said(doing.form, "external_ref"))
    tokens = whole(doing.form, "tokens")
    await wallets.top_up(doing.tx, account.public_id, env, tokens, actor=doing.actor, funding=funding)
    return Gone(f"/console/accounts/{public_id('acc', account.id)}?env={env}")


ROUTES: list[Route] = [
    *looks("/console/accounts", look, table=True),
    *looks("/console/accounts/{account}", look_at_one, table=True),
    *changes("/console/accounts", "keys:write", create),
    *changes("/console/accounts/{account}/top-up", "wallets:write", top_up),
]
