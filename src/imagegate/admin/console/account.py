"""One account: what it has and had, what moved, its limits, budgets and allowances, and the proof of its sums."""

from datetime import datetime
from urllib.parse import quote, urlencode

from starlette.routing import Route

from imagegate.admin import accounts, allowances, limits, wallets
from imagegate.admin.accounts import account_json
from imagegate.admin.console import limit_forms
from imagegate.admin.console.door import Doing, Gone, Shown, Visit, changes, looks, said, whole
from imagegate.admin.console.limit_forms import env_said
from imagegate.admin.console.subtables import beside
from imagegate.admin.console.tables import Table
from imagegate.admin.http.pages import Page, after_number, listed
from imagegate.admin.moments import timestamp
from imagegate.admin.wallets import ENVS, line_json, wallet_json
from imagegate.identity.accounts import Account
from imagegate.ledger.balances import Sums, sum_up
from imagegate.ledger.holds import Wallet
from imagegate.ledger.wallets import Funding

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
BALANCES = ("at", "posted_tokens")
GRANTS = ("id", "account", "env", "period", "tokens", "carry_over", "created_at", "ended_at")
ROWS = 50
POINTS = 97
MOST_SUMMED = 100_000
"""Transfers that are added up each time somebody looks: a tenth of a second."""
ONE = "/console/accounts/{account}"


async def look(visit: Visit) -> Shown:
    """Its wallets; what one of them had over time and its statement, newest first; its sums, limits, allowances."""
    connection, settings = visit.connection, visit.services.settings
    account, env = await named(visit)
    found = [await wallets.get_wallet(connection, account.public_id, each) for each in ENVS]
    had = await read_balances(visit)
    unit = settings.tokens_per_currency_unit
    context = {
        "account": account_json(account),
        "wallets": [wallet_json(account.name, wallet, settings) for wallet in found],
        "env": env,
        "sums": await prove(visit, account, {wallet.env: wallet for wallet in found}[env]),
        "chart": chart_of(had, unit),
        "had": had,
        "limits": await read_limits(visit),
        "allowances": await read_allowances(visit),
        "words": limit_forms.WORDS,
        "whom": limit_forms.WHOM,
        "here": f"/console/accounts/{account.public_id}",
    }
    return Shown("account.html", context, await read_statement(visit))


async def prove(visit: Visit, account: Account, wallet: Wallet) -> Sums | None:
    """None: it has so many transfers that they are added up when that is asked for."""
    if wallet.version > MOST_SUMMED and not visit.frame.get("prove"):
        return None
    return await sum_up(visit.connection, account.id, wallet.env)


async def named(visit: Visit) -> tuple[Account, str]:
    account = await accounts.get_account(visit.connection, visit.path["account"])
    return account, visit.frame.env or "live"


def chart_of(had: Table, unit: int) -> dict[str, object]:
    """What the page's script draws, in units of the currency."""
    values = [row["posted_tokens"] / unit for row in had.rows]
    x = [datetime.fromisoformat(row["at"]).timestamp() for row in had.rows]
    return {"x": x, "series": [{"name": "Balance", "values": values}], "steps": True}


async def read_statement(visit: Visit) -> Table:
    account, env = await named(visit)
    page = Page(limit=ROWS, after=visit.frame.get("after"))
    lines = await wallets.page_statement(
        visit.connection, account.public_id, env, after_number(page), page.rows
    )
    told = listed(page, lines, line_json, lambda line: line.version)
    after = {"after": page.after} if page.after else {}
    path = f"{wallet_path(account, env)}/statement?{urlencode({'limit': ROWS} | after)}"
    return Table("statement", LINES, told["data"], path, told["next"])


async def read_balances(visit: Visit) -> Table:
    account, env = await named(visit)
    since, until = visit.frame.since, visit.frame.now
    rows = await wallets.show_balances(visit.connection, account.public_id, env, since, until, POINTS)
    query = {"since": timestamp(since), "until": timestamp(until), "points": POINTS}
    return Table("balances", BALANCES, rows, f"{wallet_path(account, env)}/balances?{urlencode(query)}")


async def read_limits(visit: Visit) -> Table:
    account, env = await named(visit)
    found = await limits.show_limits(visit.connection, account.public_id, env)
    path = f"/admin/v1/accounts/{quote(account.public_id)}/limits/{env}"
    return Table("limits", limit_forms.COLUMNS, [shown.to_json() for shown in found], path)


async def read_allowances(visit: Visit) -> Table:
    """Of both environments, as the admin API has them: those that run."""
    account, _ = await named(visit)
    rows = await allowances.list_allowances(visit.connection, account.public_id)
    path = f"/admin/v1/allowances?{urlencode({'account': account.public_id, 'limit': 200})}"
    return Table("allowances", GRANTS, list(reversed(rows)), path)


def wallet_path(account: Account, env: str) -> str:
    return f"/admin/v1/accounts/{quote(account.public_id)}/wallets/{env}"


def back(doing: Doing, account: Account) -> Gone:
    return Gone(f"/console/accounts/{account.public_id}?{urlencode({'env': env_said(doing.form)})}")


async def of(doing: Doing) -> Account:
    return await accounts.get_account(doing.tx, doing.visit.path["account"])


async def top_up(doing: Doing) -> Gone:
    """Raises what `wallets.top_up` raises."""
    account, env = await of(doing), env_said(doing.form)
    funding = Funding(source="operator", external_ref=said(doing.form, "external_ref"))
    tokens = whole(doing.form, "tokens")
    await wallets.top_up(doing.tx, account.public_id, env, tokens, actor=doing.actor, funding=funding)
    return back(doing, account)


async def adjust(doing: Doing) -> Gone:
    """Raises what `wallets.adjust` raises."""
    account, env = await of(doing), env_said(doing.form)
    await wallets.adjust(doing.tx, account.public_id, env, whole(doing.form, "tokens"), actor=doing.actor)
    return back(doing, account)


async def set_limits(doing: Doing) -> Gone:
    """Raises what `limits.set_limits` and `limits.clear_limits` raise."""
    account = await of(doing)
    await limit_forms.set_limits(doing, account.public_id, limit_forms.read_whom(doing.form))
    return back(doing, account)


async def set_allowance(doing: Doing) -> Gone:
    """Raises what `allowances.set_allowance` raises."""
    account, env, form = await of(doing), env_said(doing.form), doing.form
    period, tokens = form.get("period", ""), whole(form, "tokens")
    carry_over = form.get("carry_over") == "1"
    await allowances.set_allowance(
        doing.tx, account.public_id, env, period, tokens, carry_over=carry_over, actor=doing.actor
    )
    return back(doing, account)


async def end_allowance(doing: Doing) -> Gone:
    """Raises what `allowances.end_allowance` raises."""
    account = await of(doing)
    await allowances.end_allowance(doing.tx, doing.form.get("allowance", ""), doing.actor)
    return back(doing, account)


async def close(doing: Doing) -> Gone:
    account = await of(doing)
    await accounts.close_account(doing.tx, account.public_id, doing.actor)
    return Gone(f"/console/accounts/{account.public_id}")


ROUTES: list[Route] = [
    *looks(ONE, look, table=True),
    *beside(f"{ONE}/balances", read_balances),
    *beside(f"{ONE}/limits", read_limits),
    *beside(f"{ONE}/allowances", read_allowances),
    *changes(f"{ONE}/top-up", "wallets:write", top_up),
    *changes(f"{ONE}/adjust", "wallets:write", adjust),
    *changes(f"{ONE}/limits", "keys:write", set_limits),
    *changes(f"{ONE}/allowances", "wallets:write", set_allowance),
    *changes(f"{ONE}/allowances/end", "wallets:write", end_allowance),
    *changes(f"{ONE}/close", "keys:write", close),
]
