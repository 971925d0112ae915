"""Accounts: what each of them has, and the proof that nothing is left over in the whole ledger."""

from urllib.parse import urlencode

from starlette.routing import Route

from imagegate.admin import accounts
from imagegate.admin.accounts import account_json
from imagegate.admin.console.door import Doing, Gone, Shown, Visit, changes, looks, said
from imagegate.admin.console.tables import Table
from imagegate.admin.http.pages import Page, after_id, listed
from imagegate.admin.wallets import ENVS
from imagegate.ledger.balances import wallets_of
from imagegate.ledger.gauges import read_gauges
from imagegate.ledger.proof import last_proof

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
ROWS = 50


async def look(visit: Visit) -> Shown:
    """Accounts with their balances, newest first; with `name` those whose name has it."""
    connection, frame = visit.connection, visit.frame
    page = Page(limit=ROWS, after=frame.get("after"))
    found = await accounts.page_accounts(connection, after_id(page), page.rows, frame.get("name"))
    told = listed(page, found, account_json, lambda account: account.id)
    held = {
        (wallet.account_id, wallet.env): wallet
        for wallet in await wallets_of(connection, [a.id for a in found])
    }
    for row, account in zip(told["data"], found, strict=False):
        live, test = (held[account.id, env] for env in ENVS)
        row |= {
            "live_tokens": live.available_tokens,
            "live_held_tokens": live.held_tokens,
            "test_tokens": test.available_tokens,
        }
    query = {name: value for name in ("name", "after") if (value := frame.get(name))}
    api = f"/admin/v1/accounts?{urlencode(query | {'limit': str(ROWS)})}"
    context = {"proof": await last_proof(connection), "gauges": await read_gauges(connection)}
    return Shown("accounts.html", context, Table("accounts", COLUMNS, told["data"], api, told["next"]))


async def create(doing: Doing) -> Gone:
    """Raises InvalidRequest."""
    name = said(doing.form, "name") or ""
    made = await accounts.open_account(doing.tx, doing.visit.services.settings, name, doing.actor)
    return Gone(f"/console/accounts/{made.public_id}")


ROUTES: list[Route] = [
    *looks("/console/accounts", look, table=True),
    *changes("/console/accounts", "keys:write", create),
]
